//! `type: azure`: Azure Key Vault and Managed HSM.
//! A mapping arrives, the adapter's settings leave. Who the gateway is stands under `credentials`, in exactly one way.

use barnabas_kms::{
    Azure, AzureCredentials, AzureIdentity, AzureKeys, AzureSettings, AzureStore, ClientCertificate, SecretSource,
};

use super::parts::{self, Http, Keys};
use crate::config::key::{Key, Kind, key};
use crate::config::reader::Reader;
use crate::config::values::{self, Places};

pub(super) fn parse(reader: &Reader<'_>, places: &Places<'_>) -> Option<AzureSettings> {
    let http =
        Http::parse(reader, places, Some("write https://NAME.vault.azure.net or https://NAME.managedhsm.azure.net"));
    let store = reader.or_default("store", values::choice(STORES), AzureStore::Vault);
    let resource = reader.optional("resource", parts::https);
    let keys = Keys::parse(reader);
    let create_keys = reader.or_default("create_keys", values::truth, false);
    let credentials = parse_credentials(reader, places);
    let http = http?;
    let mut settings = AzureSettings::new(http.endpoint(), credentials?);
    http.put(&mut settings.http);
    settings.store = store?;
    settings.resource = resource?;
    settings.create_keys = create_keys?;
    match keys? {
        Some(Keys::One(name)) => settings.keys = AzureKeys::One { name },
        Some(Keys::PerClient(prefix)) => settings.keys = AzureKeys::PerClient { prefix },
        None => {}
    }
    parts::sound(reader, Azure::new(settings.clone()), &[])?;
    Some(settings)
}

fn parse_credentials(reader: &Reader<'_>, places: &Places<'_>) -> Option<AzureCredentials> {
    parts::way(reader, ("credentials", WAYS, WAYS_TEXT), |way, inner| match way {
        "app_service" => parse_app_service(inner, places),
        "managed_identity" => parse_managed_identity(inner),
        "workload_identity" => parse_workload_identity(inner, places),
        "certificate" => parse_certificate(inner, places),
        _ => parse_client_secret(inner, places),
    })
}

fn parse_app_service(reader: &Reader<'_>, places: &Places<'_>) -> Option<AzureCredentials> {
    let variable = |name: &str| SecretSource::Environment(name.to_owned());
    let endpoint = parts::optional_secret(reader, "endpoint", places);
    let header = parts::optional_secret(reader, "header", places);
    let client_id = reader.optional("client_id", values::text);
    Some(AzureCredentials::AppService {
        endpoint: endpoint?.unwrap_or_else(|| variable("IDENTITY_ENDPOINT")),
        header: header?.unwrap_or_else(|| variable("IDENTITY_HEADER")),
        client_id: client_id?,
    })
}

fn parse_managed_identity(reader: &Reader<'_>) -> Option<AzureCredentials> {
    let address = reader.or_default("address", parts::metadata_address, "http://169.254.169.254".to_owned());
    let client_id = reader.optional("client_id", values::text);
    Some(AzureCredentials::ManagedIdentity { address: address?, client_id: client_id? })
}

fn parse_workload_identity(reader: &Reader<'_>, places: &Places<'_>) -> Option<AzureCredentials> {
    let identity = parse_identity(reader);
    let remedy = "name the file that AZURE_FEDERATED_TOKEN_FILE names";
    let token_file = reader.required("token_file", |text| places.file(text), remedy);
    Some(AzureCredentials::WorkloadIdentity(identity?, token_file?))
}

fn parse_certificate(reader: &Reader<'_>, places: &Places<'_>) -> Option<AzureCredentials> {
    let identity = parse_identity(reader);
    let certificate = reader.required("certificate", |text| places.file(text), "name the registered certificate, PEM");
    let private_key = reader.required("private_key", |text| places.file(text), "name its RSA key, PEM");
    let files = ClientCertificate { certificate: certificate?, private_key: private_key? };
    Some(AzureCredentials::Certificate(identity?, files))
}

fn parse_client_secret(reader: &Reader<'_>, places: &Places<'_>) -> Option<AzureCredentials> {
    let identity = parse_identity(reader);
    let secret = parts::secret(reader, "secret", places);
    Some(AzureCredentials::ClientSecret(identity?, secret?))
}

/// An application of a directory; the authority is that of the public cloud unless another is written.
fn parse_identity(reader: &Reader<'_>) -> Option<AzureIdentity> {
    let authority = reader.optional("authority", parts::https);
    let tenant = reader.required("tenant", values::text, "write the directory's id or domain");
    let client_id = reader.required("client_id", values::text, "write the application's id");
    let mut identity = AzureIdentity::new(tenant?, client_id?);
    if let Some(authority) = authority? {
        identity.authority = authority;
    }
    Some(identity)
}

const STORES: &[(&str, AzureStore)] = &[("vault", AzureStore::Vault), ("managed-hsm", AzureStore::ManagedHsm)];

const WAYS: &[&str] = &["workload_identity", "managed_identity", "app_service", "certificate", "client_secret"];

const WAYS_TEXT: &str = "write one of workload_identity, managed_identity, app_service, certificate and client_secret";

pub(in crate::config) const KEYS: &[Key] = &[
    key(
        "kms.NAME.store",
        Kind::Choice,
        "`vault`",
        "azure: `vault`: RSA keys of a Key Vault. `managed-hsm`: AES keys of a Managed HSM.",
    ),
    key(
        "kms.NAME.resource",
        Kind::Text,
        "from the address",
        "azure: what tokens are for, where the address does not tell.",
    ),
    key(
        "kms.NAME.credentials.workload_identity",
        Kind::Section,
        "none",
        "azure: an application that trusts a cluster's tokens.",
    ),
    key(
        "kms.NAME.credentials.workload_identity.authority",
        Kind::Text,
        "`https://login.microsoftonline.com`",
        "azure: where tokens are given; another cloud has its own.",
    ),
    key(
        "kms.NAME.credentials.workload_identity.tenant",
        Kind::Text,
        "required",
        "azure: the directory's id or domain.",
    ),
    key("kms.NAME.credentials.workload_identity.client_id", Kind::Text, "required", "azure: the application's id."),
    key(
        "kms.NAME.credentials.workload_identity.token_file",
        Kind::Path,
        "required",
        "azure: the projected token, `AZURE_FEDERATED_TOKEN_FILE`.",
    ),
    key("kms.NAME.credentials.managed_identity", Kind::Section, "none", "azure: the identity of a virtual machine."),
    key(
        "kms.NAME.credentials.managed_identity.address",
        Kind::Text,
        "`http://169.254.169.254`",
        "azure: the metadata service.",
    ),
    key(
        "kms.NAME.credentials.managed_identity.client_id",
        Kind::Text,
        "the only one",
        "azure: which identity, where there is more than one.",
    ),
    key(
        "kms.NAME.credentials.app_service",
        Kind::Section,
        "none",
        "azure: the identity of an App Service, a function or a container app.",
    ),
    key(
        "kms.NAME.credentials.app_service.endpoint",
        Kind::Secret,
        "`IDENTITY_ENDPOINT`",
        "azure: where its endpoint's address is.",
    ),
    key(
        "kms.NAME.credentials.app_service.header",
        Kind::Secret,
        "`IDENTITY_HEADER`",
        "azure: where the value of its header is.",
    ),
    key(
        "kms.NAME.credentials.app_service.client_id",
        Kind::Text,
        "the only one",
        "azure: which identity, where there is more than one.",
    ),
    key(
        "kms.NAME.credentials.certificate",
        Kind::Section,
        "none",
        "azure: an application and its registered certificate.",
    ),
    key(
        "kms.NAME.credentials.certificate.authority",
        Kind::Text,
        "`https://login.microsoftonline.com`",
        "azure: where tokens are given; another cloud has its own.",
    ),
    key("kms.NAME.credentials.certificate.tenant", Kind::Text, "required", "azure: the directory's id or domain."),
    key("kms.NAME.credentials.certificate.client_id", Kind::Text, "required", "azure: the application's id."),
    key("kms.NAME.credentials.certificate.certificate", Kind::Path, "required", "azure: the certificate, PEM."),
    key(
        "kms.NAME.credentials.certificate.private_key",
        Kind::Path,
        "required",
        "azure: its RSA key, PEM; it signs, and never leaves.",
    ),
    key("kms.NAME.credentials.client_secret", Kind::Section, "none", "azure: an application and its secret."),
    key(
        "kms.NAME.credentials.client_secret.authority",
        Kind::Text,
        "`https://login.microsoftonline.com`",
        "azure: where tokens are given; another cloud has its own.",
    ),
    key("kms.NAME.credentials.client_secret.tenant", Kind::Text, "required", "azure: the directory's id or domain."),
    key("kms.NAME.credentials.client_secret.client_id", Kind::Text, "required", "azure: the application's id."),
    key(
        "kms.NAME.credentials.client_secret.secret",
        Kind::Secret,
        "required",
        "azure: the client secret, read at each renewal.",
    ),
];
