//! Sources of credentials against scripted metadata services and token services on loopback.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

/// Answers one request after another, each on a connection of its own; gives what was asked.
async fn scripted(answers: Vec<(u16, String)>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let mut asked = Vec::new();
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = vec![0; 16_384];
            let read = stream.read(&mut buffer).await.unwrap();
            asked.push(String::from_utf8_lossy(&buffer[..read]).into_owned());
            let head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).await.unwrap();
        }
        asked
    });
    (address, task)
}

fn credentials(source: AwsCredentials) -> Credentials {
    let http = HttpSettings { plaintext: Plaintext::Loopback, ..HttpSettings::new("https://kms.example.com") };
    Credentials::new(source, "eu-central-1", &http).unwrap()
}

fn role(id: &str, left: SignedDuration) -> String {
    let end = Timestamp::now() + left;
    format!(r#"{{"AccessKeyId":"{id}","SecretAccessKey":"s/+=","Token":"t","Expiration":"{end}"}}"#)
}

const HOUR: SignedDuration = SignedDuration::from_hours(1);

#[tokio::test]
async fn an_instance_is_asked_with_a_session_of_its_metadata_service() {
    let answers = vec![(200, "session".into()), (200, "the-role\n".into()), (200, role("ASIA1", HOUR))];
    let (address, task) = scripted(answers).await;
    let credentials = credentials(AwsCredentials::Instance { endpoint: Some(address) });
    let (keys, is_fresh) = credentials.current().await.unwrap();
    assert_eq!((keys.access_key_id.as_str(), keys.secret_access_key.expose(), is_fresh), ("ASIA1", "s/+=", true));
    assert!(!credentials.current().await.unwrap().1, "kept while they last");
    let asked = task.await.unwrap();
    assert!(asked[0].starts_with("PUT /latest/api/token "), "{}", asked[0]);
    assert!(asked[1].contains("x-aws-ec2-metadata-token: session\r\n"), "{}", asked[1]);
    assert!(asked[2].starts_with("GET /latest/meta-data/iam/security-credentials/the-role "), "{}", asked[2]);
}

#[tokio::test]
async fn an_instance_without_a_role_is_told() {
    let (address, _task) = scripted(vec![(200, "session".into()), (404, String::new())]).await;
    let error = credentials(AwsCredentials::Instance { endpoint: Some(address) }).current().await.err().unwrap();
    assert_eq!(barnabas_crypto::CustodyError::from(error).cause, CustodyCause::Unauthenticated);
}

#[tokio::test]
async fn a_container_shows_its_token() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    fs::write(&path, "pod-token\n").unwrap();
    let (address, task) = scripted(vec![(200, role("ASIA2", HOUR))]).await;
    let source =
        AwsCredentials::Container { uri: Some(format!("{address}/v1/x?y=1")), token: Some(SecretSource::File(path)) };
    assert_eq!(credentials(source).current().await.unwrap().0.access_key_id, "ASIA2");
    let asked = &task.await.unwrap()[0];
    assert!(asked.starts_with("GET /v1/x?y=1 ") && asked.contains("authorization: pod-token\r\n"), "{asked}");
}

#[tokio::test]
async fn what_is_about_to_end_is_renewed_and_used_on_while_that_fails() {
    let soon = SignedDuration::from_mins(2);
    let (address, task) = scripted(vec![(200, role("OLD", soon)), (503, String::new())]).await;
    let source = AwsCredentials::Container { uri: Some(format!("{address}/")), token: None };
    let credentials = credentials(source);
    for _ in 0..4 {
        assert_eq!(credentials.current().await.unwrap().0.access_key_id, "OLD");
    }
    assert_eq!(task.await.unwrap().len(), 2, "after a failure nobody asks again at once");
}

#[tokio::test]
async fn a_web_identity_becomes_a_session() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    fs::write(&path, "a.b+c/d==").unwrap();
    let end = Timestamp::now() + HOUR;
    let answer = format!(
        "<R><Credentials><AccessKeyId>ASIA3</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
         <SessionToken>t</SessionToken><Expiration>{end}</Expiration></Credentials></R>"
    );
    let (address, task) = scripted(vec![(200, answer)]).await;
    let source = AwsCredentials::WebIdentity {
        role_arn: "arn:aws:iam::1:role/r".into(),
        session_name: "gateway".into(),
        token: SecretSource::File(path),
        sts_endpoint: Some(address),
    };
    let (keys, _) = credentials(source).current().await.unwrap();
    assert_eq!((keys.access_key_id.as_str(), keys.session_token.as_ref().unwrap().expose()), ("ASIA3", "t"));
    let asked = &task.await.unwrap()[0];
    assert!(asked.contains("RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&"), "{asked}");
    assert!(asked.ends_with("&WebIdentityToken=a.b%2Bc%2Fd%3D%3D"), "{asked}");
}

#[tokio::test]
async fn a_rejected_web_identity_is_about_the_credential() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    fs::write(&path, "token").unwrap();
    let answer = "<ErrorResponse><Error><Code>ExpiredTokenException</Code><Message>Token expired</Message></Error>";
    let (address, _task) = scripted(vec![(400, answer.into())]).await;
    let source = AwsCredentials::WebIdentity {
        role_arn: "arn:aws:iam::1:role/r".into(),
        session_name: "gateway".into(),
        token: SecretSource::File(path),
        sts_endpoint: Some(address),
    };
    let error = barnabas_crypto::CustodyError::from(credentials(source).current().await.err().unwrap());
    assert_eq!(error.cause, CustodyCause::Unauthenticated);
    assert!(error.message.contains("Token expired"), "{error}");
}

#[test]
fn a_profile_is_found_among_others() {
    let text = "[default]\naws_access_key_id=A\naws_secret_access_key = S\n\n[other]\n aws_access_key_id = B\n\
                aws_secret_access_key=T=\naws_session_token=U\n";
    let keys = profile(text, "default").unwrap();
    assert_eq!((keys.access_key_id.as_str(), keys.secret_access_key.expose()), ("A", "S"));
    assert!(keys.session_token.is_none());
    let keys = profile(text, "other").unwrap();
    assert_eq!((keys.access_key_id.as_str(), keys.secret_access_key.expose()), ("B", "T="));
    assert_eq!(keys.session_token.unwrap().expose(), "U");
    assert!(profile(text, "third").err().unwrap().to_string().contains("third"));
}

#[test]
fn a_container_service_in_the_clear_is_asked_only_nearby() {
    let http = HttpSettings::new("https://kms.example.com");
    let uri = |uri: &str| AwsCredentials::Container { uri: Some(uri.into()), token: None };
    for wrong in ["http://169.254.170.2", "169.254.170.2/x", ""] {
        assert!(Credentials::new(uri(wrong), "eu-central-1", &http).is_err(), "{wrong}");
    }
    assert!(Credentials::new(uri("http://169.254.170.2/v2/x"), "eu-central-1", &http).is_ok());
}
