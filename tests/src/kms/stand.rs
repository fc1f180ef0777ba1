//! A site beside an OpenBao that the gateway reaches through a proxy, under the policies of the documentation and never as root.

use std::sync::Arc;
use std::time::Duration;

use barnabas_crypto::{Body, Custodian, Identity, SignedObject, WrappedSeed};
use serde_json::Value;

use super::Bench;
use super::fault::FaultProxy;
use super::openbao::OpenBao;
use crate::broker::Broker;
use crate::clients::{Endpoint, rd};
use crate::site::Site;

/// The gateway and its KMS. The gateway ends first.
pub struct Stand {
    /// What clients connect to.
    pub site: Site,
    /// Between the gateway and the server.
    pub proxy: Arc<FaultProxy>,
    /// The server; `bao` in the configuration.
    pub bao: OpenBao,
}

impl Stand {
    /// With short times: `custody.max_age` and sessions end many times during a test. `custody` is the rest of that section.
    pub fn new(custody: &str) -> Self {
        Self::before(OpenBao::start(), custody)
    }

    /// The same with everything of ours in a namespace.
    pub fn in_namespace(name: &str, custody: &str) -> Self {
        let mut bao = OpenBao::start();
        bao.enter_namespace(name);
        Self::before(bao, custody)
    }

    fn before(bao: OpenBao, custody: &str) -> Self {
        bao.let_role_make_keys();
        let proxy = Arc::new(FaultProxy::start(bao.port()));
        let mut kms = bao.configuration(proxy.port());
        kms.push(format!("custody: {{ max_age: {}s, {custody} }}", MAX_AGE.as_secs()));
        let site = Site::with(Broker::shared(), |mut settings| {
            settings.kms = kms;
            settings.limits = vec![("max_session_age".to_owned(), "10s".to_owned())];
            settings
        });
        Self { site, proxy, bao }
    }

    /// What `kms inventory` lists.
    #[track_caller]
    pub fn inventory(&self) -> Vec<Value> {
        let listed = self.site.gateway.command(&["kms", "inventory", "--output", "json"]).ok();
        serde_json::from_str(&listed.stdout).unwrap_or_else(|e| panic!("{e}: {}", listed.text()))
    }

    /// The row of one client, `User:NAME`.
    #[track_caller]
    pub fn row(&self, of: &str) -> Value {
        let rows = self.inventory();
        let found = rows.iter().find(|row| row["of"] == of).cloned();
        found.unwrap_or_else(|| panic!("{of} is not among {rows:?}"))
    }

    /// How many seeds a system hides.
    #[track_caller]
    pub fn hidden_by(&self, kms: &str) -> usize {
        self.inventory().iter().filter(|row| row["kms"] == kms).count()
    }

    /// A client's identity, and how its seed is hidden, as the broker has them.
    #[track_caller]
    pub fn hidden_seed(&self, principal: &str) -> (Identity, WrappedSeed) {
        let keyring = rd::read_all(&Endpoint::direct(self.site.broker()), self.site.home.keyring_topic());
        let objects = keyring.iter().filter_map(|got| SignedObject::parse(&got.record.value.as_ref()?.0).ok());
        let mut identities = objects.filter_map(|object| match object.body() {
            Body::Identity(identity) if identity.principal == principal => Some(identity.clone()),
            _ => None,
        });
        let identity = identities.next_back().unwrap_or_else(|| panic!("{principal} has no identity"));
        match &identity.custody {
            Custodian::Gateway(wrapped) => (identity.clone(), wrapped.clone()),
            Custodian::Client => panic!("{principal} keeps its own keys"),
        }
    }
}

/// `custody.max_age`.
pub const MAX_AGE: Duration = Duration::from_secs(2);
