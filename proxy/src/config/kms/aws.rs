//! `type: aws`: AWS Key Management Service.
//! A mapping arrives, the adapter's settings leave. Who the gateway is stands under `credentials`, in exactly one way.

use barnabas_kms::{Aws, AwsCredentials, AwsKeys, AwsSettings};

use super::parts::{self, Http, Keys};
use crate::config::key::{Key, Kind, key};
use crate::config::mistake::Refusal;
use crate::config::reader::Reader;
use crate::config::values::{self, Places};

pub(super) fn parse(reader: &Reader<'_>, places: &Places<'_>) -> Option<AwsSettings> {
    let region = reader.required("region", values::text, "write the region of the keys, such as eu-central-1");
    let http = Http::parse(reader, places, None);
    let keys = Keys::parse(reader);
    if matches!(keys, Some(None)) {
        let remedy =
            "write { per_client: alias/barnabas- } or { one: KEY }: keys of AWS are made by you and cost money";
        reader.refuse("keys", Refusal::new("`keys` is missing", remedy));
    }
    let credentials = parse_credentials(reader, places);
    let keys = match keys?? {
        Keys::One(key_id) => AwsKeys::One { key_id },
        Keys::PerClient(alias_prefix) => AwsKeys::PerClient { alias_prefix },
    };
    let mut settings = AwsSettings::new(region?, credentials?, keys);
    http?.put(&mut settings.http);
    let names =
        [("keys.key_id", "keys.one"), ("keys.alias_prefix", "keys.per_client"), ("credentials.uri", "credentials")];
    parts::sound(reader, Aws::new(settings.clone()), &names)?;
    Some(settings)
}

fn parse_credentials(reader: &Reader<'_>, places: &Places<'_>) -> Option<AwsCredentials> {
    parts::way(reader, ("credentials", WAYS, WAYS_TEXT), |way, inner| match way {
        "container" => parse_container(inner, places),
        "instance" => {
            let endpoint = inner.optional("endpoint", parts::metadata_address)?;
            Some(AwsCredentials::Instance { endpoint })
        }
        "profile" => parse_profile(inner, places),
        "static" => parse_static(inner, places),
        _ => parse_web_identity(inner, places),
    })
}

fn parse_container(reader: &Reader<'_>, places: &Places<'_>) -> Option<AwsCredentials> {
    let uri = reader.optional("uri", parts::metadata_address);
    let token = parts::optional_secret(reader, "token", places);
    Some(AwsCredentials::Container { uri: uri?, token: token? })
}

fn parse_profile(reader: &Reader<'_>, places: &Places<'_>) -> Option<AwsCredentials> {
    let file = reader.required("file", |text| places.file(text), "name a file in the form of ~/.aws/credentials");
    let name = reader.or_default("name", values::text, "default".to_owned());
    Some(AwsCredentials::Profile { file: file?, name: name? })
}

fn parse_static(reader: &Reader<'_>, places: &Places<'_>) -> Option<AwsCredentials> {
    let access_key_id = parts::secret(reader, "access_key_id", places);
    let secret_access_key = parts::secret(reader, "secret_access_key", places);
    let session_token = parts::optional_secret(reader, "session_token", places);
    Some(AwsCredentials::Static {
        access_key_id: access_key_id?,
        secret_access_key: secret_access_key?,
        session_token: session_token?,
    })
}

fn parse_web_identity(reader: &Reader<'_>, places: &Places<'_>) -> Option<AwsCredentials> {
    let role_arn = reader.required("role_arn", values::text, "write the role's ARN, arn:aws:iam::ACCOUNT:role/NAME");
    let session_name = reader.or_default("session_name", values::text, "barnabas".to_owned());
    let token = parts::secret(reader, "token", places);
    let sts_endpoint = reader.optional("sts_endpoint", parts::https);
    Some(AwsCredentials::WebIdentity {
        role_arn: role_arn?,
        session_name: session_name?,
        token: token?,
        sts_endpoint: sts_endpoint?,
    })
}

const WAYS: &[&str] = &["web_identity", "container", "instance", "profile", "static"];

const WAYS_TEXT: &str = "write one of web_identity, container, instance, profile and static";

pub(in crate::config) const KEYS: &[Key] = &[
    key("kms.NAME.region", Kind::Text, "required by aws", "aws: the region, such as `eu-central-1`."),
    key(
        "kms.NAME.credentials.web_identity",
        Kind::Section,
        "none",
        "aws: a role, assumed with an identity provider's token (EKS, OIDC).",
    ),
    key("kms.NAME.credentials.web_identity.role_arn", Kind::Text, "required", "aws: the role's ARN."),
    key(
        "kms.NAME.credentials.web_identity.session_name",
        Kind::Text,
        "`barnabas`",
        "aws: under which name the session stands in CloudTrail.",
    ),
    key("kms.NAME.credentials.web_identity.token", Kind::Secret, "required", "aws: the token, read each time."),
    key("kms.NAME.credentials.web_identity.sts_endpoint", Kind::Text, "the region's own", "aws: where STS is."),
    key("kms.NAME.credentials.container", Kind::Section, "none", "aws: the role of an ECS task or an EKS pod."),
    key(
        "kms.NAME.credentials.container.uri",
        Kind::Text,
        "from `AWS_CONTAINER_CREDENTIALS_...`",
        "aws: where the role is asked for.",
    ),
    key(
        "kms.NAME.credentials.container.token",
        Kind::Secret,
        "from `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`",
        "aws: what is shown there.",
    ),
    key("kms.NAME.credentials.instance", Kind::Section, "none", "aws: the role of an EC2 instance (IMDSv2)."),
    key("kms.NAME.credentials.instance.endpoint", Kind::Text, "`http://169.254.169.254`", "aws: the metadata service."),
    key(
        "kms.NAME.credentials.profile",
        Kind::Section,
        "none",
        "aws: a profile of a credentials file, read at each call.",
    ),
    key(
        "kms.NAME.credentials.profile.file",
        Kind::Path,
        "required",
        "aws: the file, in the form of `~/.aws/credentials`.",
    ),
    key("kms.NAME.credentials.profile.name", Kind::Text, "`default`", "aws: the profile."),
    key("kms.NAME.credentials.static", Kind::Section, "none", "aws: an access key, read at each call."),
    key("kms.NAME.credentials.static.access_key_id", Kind::Secret, "required", "aws: its id."),
    key("kms.NAME.credentials.static.secret_access_key", Kind::Secret, "required", "aws: its secret."),
    key("kms.NAME.credentials.static.session_token", Kind::Secret, "none", "aws: for credentials of a session."),
];
