//! What changes while the gateway runs: certificates, revocation lists, policy.
//!
//! Arrives: a newly read and checked configuration. Leaves: the parts that can change in place are changed; the rest is
//! named, and needs a restart. A configuration with a mistake changes nothing.

use std::sync::Arc;

use crate::admin::Secure;
use crate::config::Config;
use crate::keyring::Keys;
use crate::listener::Serving;
use crate::rest;
use crate::steward::Delegate;

/// Holds what can be changed.
pub struct Reloader {
    pub(super) keys: Arc<Keys>,
    pub(super) delegate: Option<Arc<Delegate>>,
    pub(super) listeners: Vec<Arc<Serving>>,
    pub(super) bridges: Vec<Arc<rest::Server>>,
    pub(super) secure: Option<Arc<Secure>>,
}

impl Reloader {
    /// Puts a new configuration in force. Broken certificate files leave the old ones in use, with an error in the log.
    pub fn apply(&self, config: &Config) {
        // The delegate first: a connection that decides by the new policy must not be denied by the old one, since it
        // keeps that answer until the next change.
        if let Some(delegate) = &self.delegate {
            delegate.replace_policy(config.policy.clone());
        }
        self.keys.replace_policy(config.policy.clone());
        for serving in &self.listeners {
            let new = config.listeners.iter().find(|listener| listener.name == serving.listener.name);
            if let (Some(tls), Some(new)) = (&serving.tls, new)
                && let Some(settings) = new.tls.clone()
            {
                // A refusal is logged there, and leaves in use what was.
                tls.reload(settings, new.principal.clone()).ok();
            }
            let upstream = config.cluster(&serving.listener.cluster).and_then(|cluster| cluster.tls.as_ref());
            if let (Some(tls), Some(settings)) = (&serving.upstream_tls, upstream) {
                tls.reload(settings.clone()).ok();
            }
        }
        for server in &self.bridges {
            if let Some(new) = config.rest.iter().find(|bridge| bridge.name == server.name()) {
                server.reload(new);
            }
        }
        let settings = config.admin.as_ref().and_then(|admin| admin.secure.as_ref());
        if let (Some(secure), Some(settings)) = (&self.secure, settings) {
            secure.reload(settings);
        }
        tracing::info!(event = "configuration_reloaded");
    }
}
