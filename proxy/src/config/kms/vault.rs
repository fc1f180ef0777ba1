//! `type: vault`: the Transit engine of HashiCorp Vault or OpenBao.
//! A mapping arrives, the adapter's settings leave. Who the gateway is stands under `auth`, by exactly one method.

use barnabas_kms::{Vault, VaultAuth, VaultKeys, VaultSettings};

use super::parts::{self, Http, Keys};
use crate::config::key::{Key, Kind, key};
use crate::config::mistake::Refusal;
use crate::config::node::Node;
use crate::config::reader::Reader;
use crate::config::values::{self, Places};

pub(super) fn parse(reader: &Reader<'_>, places: &Places<'_>) -> Option<VaultSettings> {
    let http = Http::parse(reader, places, Some("write Vault's address, such as https://vault.internal:8200"));
    let namespace = reader.optional("namespace", values::text);
    let mount = reader.optional("mount", values::text);
    let keys = Keys::parse(reader);
    let auth = parse_auth(reader, places);
    let http = http?;
    let mut settings = VaultSettings::new(http.endpoint(), auth?);
    http.put(&mut settings.http);
    settings.namespace = namespace?;
    if let Some(mount) = mount? {
        settings.mount = mount;
    }
    match keys? {
        Some(Keys::One(name)) => settings.keys = VaultKeys::One { name },
        Some(Keys::PerClient(prefix)) => settings.keys = VaultKeys::PerClient { prefix },
        None => {}
    }
    parts::sound(reader, Vault::new(settings.clone()), &[("auth.mount", "auth")])?;
    Some(settings)
}

fn parse_auth(reader: &Reader<'_>, places: &Places<'_>) -> Option<VaultAuth> {
    if reader.node("auth").is_none() {
        reader.refuse("auth", Refusal::new("`auth` is missing", METHODS));
        return None;
    }
    let section = reader.section("auth")?;
    let method = parts::one_of(&section, &["app_role", "kubernetes", "jwt", "token"], METHODS);
    let auth = match method {
        Some("token") => parts::secret(&section, "token", places).map(VaultAuth::Token),
        Some(method) => parse_login(&section, method, places),
        None => None,
    };
    section.finish();
    auth
}

/// The methods that exchange something for a token.
fn parse_login(section: &Reader<'_>, method: &'static str, places: &Places<'_>) -> Option<VaultAuth> {
    let nothing = Node::nothing();
    let login = section.section_or_empty(method, &nothing)?;
    let usual_mount = if method == "app_role" { "approle" } else { method };
    let mount = login.or_default("mount", values::text, usual_mount.to_owned());
    let auth = if method == "app_role" {
        let role_id =
            login.required("role_id", values::text, "write the role's id: `vault read auth/approle/role/...`");
        let secret_id = parts::secret(&login, "secret_id", places);
        (|| Some(VaultAuth::AppRole { mount: mount?, role_id: role_id?, secret_id: secret_id? }))()
    } else {
        let role = login.required("role", values::text, "write the name of the role that the method knows");
        let token = match method {
            "kubernetes" => parts::optional_secret(&login, "token", places)
                .map(|token| token.unwrap_or_else(|| parts::usual_file(POD_TOKEN))),
            _ => parts::secret(&login, "token", places),
        };
        (|| {
            let (mount, role, token) = (mount?, role?, token?);
            Some(match method {
                "kubernetes" => VaultAuth::Kubernetes { mount, role, token },
                _ => VaultAuth::Jwt { mount, role, token },
            })
        })()
    };
    login.finish();
    auth
}

const METHODS: &str = "write one of app_role, kubernetes, jwt and token";

/// Where Kubernetes puts the token of a pod's service account.
const POD_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

pub(in crate::config) const KEYS: &[Key] = &[
    key("kms.NAME.namespace", Kind::Text, "none", "vault: the namespace, where there are some."),
    key("kms.NAME.mount", Kind::Text, "`transit`", "vault: where the Transit engine is mounted."),
    key(
        "kms.NAME.auth",
        Kind::Section,
        "required by vault",
        "vault: who the gateway is, by exactly one of the methods below. Tokens are renewed before they end.",
    ),
    key("kms.NAME.auth.app_role", Kind::Section, "none", "vault: a role and its secret."),
    key("kms.NAME.auth.app_role.mount", Kind::Text, "`approle`", "vault: where the method is mounted."),
    key("kms.NAME.auth.app_role.role_id", Kind::Text, "required", "vault: the role's id."),
    key("kms.NAME.auth.app_role.secret_id", Kind::Secret, "required", "vault: the secret id, read at each login."),
    key("kms.NAME.auth.kubernetes", Kind::Section, "none", "vault: the service account of a pod."),
    key("kms.NAME.auth.kubernetes.mount", Kind::Text, "`kubernetes`", "vault: where the method is mounted."),
    key("kms.NAME.auth.kubernetes.role", Kind::Text, "required", "vault: the role."),
    key("kms.NAME.auth.kubernetes.token", Kind::Secret, "the pod's own file", "vault: the token, read at each login."),
    key("kms.NAME.auth.jwt", Kind::Section, "none", "vault: a signed token of another issuer."),
    key("kms.NAME.auth.jwt.mount", Kind::Text, "`jwt`", "vault: where the method is mounted."),
    key("kms.NAME.auth.jwt.role", Kind::Text, "required", "vault: the role."),
    key("kms.NAME.auth.jwt.token", Kind::Secret, "required", "vault: the token, read at each login."),
    key(
        "kms.NAME.auth.token",
        Kind::Secret,
        "none",
        "vault: a token that somebody else makes, such as Vault's agent; read at each call.",
    ),
];
