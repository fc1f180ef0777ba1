//! What differs between two configurations: the old and the new one arrive; what takes effect at once and what waits for
//! a restart leaves, by the names of the keys. A difference must never be passed over in silence: a key that is in neither
//! list would let an operator believe that it is in force.

use super::{Admin, Bridge, Config, Listener};

/// The differences, as paths of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Takes effect for what comes next.
    pub in_place: Vec<String>,
    /// Stays as it was until the process starts again.
    pub needs_restart: Vec<String>,
}

impl Changes {
    /// Compares. The content of files is not compared: certificates are read anew at every reload.
    pub fn between(old: &Config, new: &Config) -> Self {
        let mut changes = Self::default();
        changes.note(old.policy.streams() != new.policy.streams(), true, "streams");
        changes.note(old.policy.enrolment_rules() != new.policy.enrolment_rules(), true, "clients");
        changes.note(old.log.level != new.log.level, true, "log.level");
        changes.note(old.log.format != new.log.format, false, "log.format");
        changes.note(old.keyring != new.keyring, false, "keyring");
        changes.note(old.keystore != new.keystore, false, "keystore");
        changes.note(old.kms != new.kms, false, "kms");
        changes.note(old.custody != new.custody, false, "custody");
        changes.note(old.steward != new.steward, false, "steward");
        changes.compare_admin(old.admin.as_ref(), new.admin.as_ref());
        changes.note(old.audit != new.audit, false, "audit");
        changes.note(old.limits != new.limits, false, "limits");
        changes.compare_listeners(&old.listeners, &new.listeners);
        changes.compare_bridges(&old.rest, &new.rest);
        changes.compare_clusters(old, new);
        changes
    }

    fn note(&mut self, differs: bool, in_place: bool, path: &str) {
        if differs {
            let list = if in_place { &mut self.in_place } else { &mut self.needs_restart };
            list.push(path.to_owned());
        }
    }

    /// Sockets stay as they are; certificates and roles of the secure one change in place.
    fn compare_admin(&mut self, old: Option<&Admin>, new: Option<&Admin>) {
        self.note(old.map(|admin| admin.bind) != new.map(|admin| admin.bind), false, "admin");
        let secure = |admin: Option<&Admin>| admin.and_then(|admin| admin.secure.clone());
        match (secure(old), secure(new)) {
            (Some(old), Some(new)) => {
                self.note(old.bind != new.bind, false, "admin.secure.bind");
                self.note(old.tls != new.tls, true, "admin.secure.tls");
                self.note(old.principal != new.principal, true, "admin.secure.principal");
                self.note(old.roles != new.roles, true, "admin.secure.roles");
            }
            (old, new) => self.note(old.is_some() != new.is_some(), false, "admin.secure"),
        }
    }

    /// A listener is known by its name: one that was renamed is one that went and one that came.
    fn compare_listeners(&mut self, old: &[Listener], new: &[Listener]) {
        for listener in old {
            let Some(now) = new.iter().find(|now| now.name == listener.name) else {
                self.note(true, false, &format!("listeners.{} (removed)", listener.name));
                continue;
            };
            let place = format!("listeners.{}", listener.name);
            // Turning TLS on or off changes what the socket speaks; new settings of it do not.
            let switched = listener.tls.is_some() != now.tls.is_some();
            self.note(listener.tls != now.tls, !switched, &format!("{place}.tls"));
            self.note(listener.principal != now.principal, !switched, &format!("{place}.principal"));
            self.note(listener.bind != now.bind, false, &format!("{place}.bind"));
            self.note(listener.advertised_host != now.advertised_host, false, &format!("{place}.advertised_host"));
            self.note(listener.cluster != now.cluster, false, &format!("{place}.cluster"));
            self.note(listener.brokers != now.brokers, false, &format!("{place}.brokers"));
        }
        for listener in new.iter().filter(|now| !old.iter().any(|listener| listener.name == now.name)) {
            self.note(true, false, &format!("listeners.{} (added)", listener.name));
        }
    }

    fn compare_bridges(&mut self, old: &[Bridge], new: &[Bridge]) {
        for bridge in old {
            let place = format!("rest.{}", bridge.name);
            let Some(now) = new.iter().find(|now| now.name == bridge.name) else {
                self.note(true, false, &format!("{place} (removed)"));
                continue;
            };
            let switched = bridge.tls.is_some() != now.tls.is_some();
            self.note(bridge.tls != now.tls, !switched, &format!("{place}.tls"));
            self.note(bridge.principal != now.principal, !switched, &format!("{place}.principal"));
            let other = |of: &Bridge| Bridge { tls: None, principal: Default::default(), ..of.clone() };
            self.note(other(bridge) != other(now), false, &place);
        }
        for bridge in new.iter().filter(|now| !old.iter().any(|bridge| bridge.name == now.name)) {
            self.note(true, false, &format!("rest.{} (added)", bridge.name));
        }
    }

    fn compare_clusters(&mut self, old: &Config, new: &Config) {
        for cluster in &old.clusters {
            let place = format!("clusters.{}", cluster.name);
            let Some(now) = new.cluster(&cluster.name) else {
                self.note(true, false, &format!("{place} (removed)"));
                continue;
            };
            let switched = cluster.tls.is_some() != now.tls.is_some();
            self.note(cluster.tls != now.tls, !switched, &format!("{place}.tls"));
            self.note(cluster.bootstrap_servers != now.bootstrap_servers, false, &format!("{place}.bootstrap_servers"));
            self.note(cluster.client != now.client, false, &format!("{place}.client"));
        }
        for cluster in new.clusters.iter().filter(|now| old.cluster(&now.name).is_none()) {
            self.note(true, false, &format!("clusters.{} (added)", cluster.name));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::*;

    const FILE: &str = "
listeners: [{ name: a, bind: 127.0.0.1:9192, cluster: one, brokers: { by: port, first_port: 9193, count: 8 }, tls: off }]
clusters: [{ name: one, bootstrap_servers: [a:1], tls: off }]
streams: { default: pass }
";

    fn with(variables: &[(&str, &str)]) -> Config {
        let env: Vec<_> = variables.iter().map(|(n, v)| (format!("BARNABAS__{n}"), (*v).to_owned())).collect();
        Config::parse(FILE, Path::new(""), &env).unwrap()
    }

    fn changed(variables: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let Changes { in_place, needs_restart } = Changes::between(&with(&[]), &with(variables));
        (in_place, needs_restart)
    }

    #[test]
    fn nothing_differs_from_itself() {
        assert_eq!(changed(&[]), (vec![], vec![]));
    }

    #[test]
    fn every_section_is_in_one_of_the_lists() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(changed(&[("STREAMS__DEFAULT", "refuse")]), (list(&["streams"]), vec![]));
        let enroll = "[{ principal: 'User:x', custody: gateway }]";
        assert_eq!(changed(&[("CLIENTS__ENROLL", enroll)]), (list(&["clients"]), vec![]));
        assert_eq!(
            changed(&[("LOG__LEVEL", "debug"), ("LOG__FORMAT", "json")]),
            (list(&["log.level"]), list(&["log.format"]))
        );
        for (variable, value, place) in [
            ("KEYRING__TOPIC", "k", "keyring"),
            (
                "KMS__A",
                "{ type: gcp, key_ring: projects/p/locations/l/keyRings/r, credentials: { metadata: {} } }",
                "kms",
            ),
            ("CUSTODY__MAX_AGE", "2h", "custody"),
            ("STEWARD__EPOCH_LIFETIME", "2d", "steward"),
            ("ADMIN__BIND", "127.0.0.1:9644", "admin"),
            ("LIMITS__MAX_CONNECTIONS", "7", "limits"),
            ("LISTENERS__0__BIND", "127.0.0.1:9000", "listeners.a.bind"),
            ("LISTENERS__0__ADVERTISED_HOST", "x", "listeners.a.advertised_host"),
            ("LISTENERS__0__BROKERS__COUNT", "9", "listeners.a.brokers"),
            ("CLUSTERS__0__BOOTSTRAP_SERVERS", "[b:1]", "clusters.one.bootstrap_servers"),
            ("CLUSTERS__0__CLIENT__SASL_MECHANISM", "PLAIN", "clusters.one.client"),
        ] {
            assert_eq!(changed(&[(variable, value)]), (vec![], list(&[place])), "{variable}");
        }
        let bridge = "[{ name: w, bind: '127.0.0.1:8443', cluster: one, tls: off }]";
        assert_eq!(changed(&[("REST", bridge)]), (vec![], list(&["rest.w (added)"])));
        let renamed = changed(&[("LISTENERS__0__NAME", "b")]);
        assert_eq!(renamed, (vec![], list(&["listeners.a (removed)", "listeners.b (added)"])));
    }
}
