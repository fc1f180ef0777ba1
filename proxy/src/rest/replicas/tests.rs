//! Who has what, and who is believed.

#![allow(clippy::unwrap_used)]

use axum::http::Request;

use super::*;
use crate::config::{HostPort, UpstreamTls};
use crate::identity::Principal;
use crate::tls::tests::Authority;

struct Scene {
    replicas: Replicas,
    _folder: tempfile::TempDir,
}

fn scene(own: &str) -> Scene {
    let folder = tempfile::tempdir().unwrap();
    Authority::new(folder.path(), "replicas");
    let settings = config::Replicas {
        id: own.to_owned(),
        members: ["a", "b", "c"].map(member).to_vec(),
        tls: UpstreamTls { ca: folder.path().join("replicas.pem"), certificate: None, server_name: None },
    };
    Scene { replicas: Replicas::new(&settings, &limits()).unwrap(), _folder: folder }
}

fn member(id: &str) -> config::Replica {
    let address = HostPort { host: "localhost".to_owned(), port: 1 };
    config::Replica { id: id.to_owned(), address, principal: Principal::user(&format!("gateway-{id}")) }
}

fn connection(name: Option<&str>) -> Connection {
    let peer = "127.0.0.1:9".parse().unwrap();
    Connection { peer, certificate: name.map(Principal::user), thumbprint: None, encrypted: true }
}

fn asked(path: &str) -> Parts {
    let request = Request::builder().uri(path).header(claim::FIELD, "basic 127.0.0.1:1 VXNlcjphbGljZQ==");
    request.body(()).unwrap().into_parts().0
}

#[test]
fn the_owner_stands_in_the_id_and_a_chosen_name_has_one_owner_everywhere() {
    let scenes = ["a", "b", "c"].map(scene);
    let [a, b, _] = &scenes;
    assert_eq!(a.replicas.id_of("x"), "a~x");
    assert_eq!(a.replicas.owner("g", "a~x"), Owner::Here);
    assert_eq!(b.replicas.owner("g", "a~x"), Owner::Peer("a"));
    assert_eq!(b.replicas.owner("g", "z~x"), Owner::Unknown("z".to_owned()));
    for name in ["mine", "yours", "one", "two", "three"] {
        let here = scenes.iter().filter(|scene| scene.replicas.owner("g", name) == Owner::Here).count();
        assert_eq!(here, 1, "{name}");
        let chosen = a.replicas.chosen("g", name).to_owned();
        assert!(scenes.iter().all(|scene| scene.replicas.chosen("g", name) == chosen));
    }
}

#[test]
fn a_principal_is_believed_of_a_replica_alone_and_for_consumers_alone() {
    let a = scene("a");
    let path = "/consumers/g/instances/a~x/records";
    let believed = a.replicas.believed(&connection(Some("gateway-b")), &asked(path)).unwrap().unwrap();
    assert_eq!(believed.principal, Principal::user("alice"));
    assert_eq!(believed.replica, Some(Principal::user("gateway-b")));
    // A client, nobody, and this replica's own certificate.
    for name in [Some("alice"), None, Some("gateway-a"), Some("gateway-bb")] {
        let refused = a.replicas.believed(&connection(name), &asked(path)).unwrap_err();
        assert_eq!(refused.code, Code::Forbidden, "{name:?}");
    }
    for path in ["/topics/t", "/v1/topics/t/records", "/consumers", "/v3/clusters", "/consumers/g/x"] {
        let refused = a.replicas.believed(&connection(Some("gateway-b")), &asked(path)).unwrap_err();
        assert_eq!(refused.code, Code::BadRequest, "{path}");
    }
    let mut both = asked(path);
    both.headers.insert(header::AUTHORIZATION, "Basic YTpi".parse().unwrap());
    assert!(a.replicas.believed(&connection(Some("gateway-b")), &both).is_err());
    let mut plain = asked(path);
    plain.headers.remove(claim::FIELD);
    assert_eq!(a.replicas.believed(&connection(Some("gateway-b")), &plain).unwrap(), None);
}

#[test]
fn paths_of_instances_are_told_by_their_templates() {
    let path = Path::of("/consumers/a%20b/instances/c~d/positions/end").unwrap();
    assert_eq!((path.group().as_deref(), path.instance().as_deref()), (Some("a b"), Some("c~d")));
    assert_eq!(path.template(), "/consumers/{group}/instances/{instance}/positions/end");
    assert!(Path::of("/consumers/g/instances/i/records").unwrap().waits());
    assert_eq!(Path::of("/consumers/g").unwrap().instance(), None);
    assert!(Path::of("/consumers").is_none() && Path::of("/topics/t").is_none());
}

fn limits() -> config::BridgeLimits {
    use crate::config::*;
    let second = Duration::from_secs(1);
    BridgeLimits {
        max_body_bytes: 1 << 20,
        max_record_bytes: 1 << 20,
        max_header_bytes: 1 << 16,
        body_timeout: second,
        request_timeout: second,
        max_memory_bytes: 1 << 20,
        max_queued_records: 1,
        max_producers: 1,
        max_consumers: 1,
        max_readers: 1,
    }
}
