//! The files that the systems of `kms:` name: certificates and keys that do not fit, credentials that are empty or no text.
//!
//! Arrives: the settings of the systems. Leaves: mistakes, each with the path of the section that names the file. Nobody is
//! asked; what a file holds is never quoted. Places that the configuration does not name, such as a pod's own token, are
//! not looked at: they may be filled later, and on another machine.

use std::path::Path;

use barnabas_kms::{AwsCredentials, AzureCredentials, Error, GcpCredentials, SecretSource, TlsSettings, VaultAuth};

use super::mistake;
use crate::config::{KmsBackend, KmsSystem, Mistake};

/// Looks into the files of one system.
pub(super) fn look_at(system: &KmsSystem, mistakes: &mut Vec<Mistake>) {
    let place = format!("kms.{}", system.name);
    if let Some(tls) = tls(&system.backend)
        && let Err(error) = tls.check()
    {
        mistakes.push(mistake(&format!("{place}.tls"), error.to_string(), "correct the file that it names"));
    }
    if let Err(error) = credentials(&system.backend) {
        let section = match &system.backend {
            KmsBackend::Vault(_) => "auth",
            #[cfg(feature = "pkcs11")]
            KmsBackend::Pkcs11(_) => "pin",
            _ => "credentials",
        };
        let remedy = "put the credential there; without it every call would be refused";
        mistakes.push(mistake(&format!("{place}.{section}"), error.to_string(), remedy));
    }
}

fn tls(backend: &KmsBackend) -> Option<&TlsSettings> {
    match backend {
        KmsBackend::Aws(settings) => Some(&settings.http.tls),
        KmsBackend::Azure(settings) => Some(&settings.http.tls),
        KmsBackend::Gcp(settings) => Some(&settings.http.tls),
        KmsBackend::Kmip(settings) => Some(&settings.tls),
        #[cfg(feature = "pkcs11")]
        KmsBackend::Pkcs11(_) => None,
        KmsBackend::Vault(settings) => Some(&settings.http.tls),
    }
}

fn credentials(backend: &KmsBackend) -> Result<(), Error> {
    match backend {
        KmsBackend::Aws(settings) => of_aws(&settings.credentials),
        KmsBackend::Azure(settings) => of_azure(&settings.credentials),
        KmsBackend::Gcp(settings) => match &settings.credentials {
            GcpCredentials::File(file) => json(file),
            GcpCredentials::Metadata { .. } => Ok(()),
        },
        KmsBackend::Kmip(_) => Ok(()),
        #[cfg(feature = "pkcs11")]
        KmsBackend::Pkcs11(settings) => readable(&settings.pin),
        KmsBackend::Vault(settings) => match &settings.auth {
            VaultAuth::AppRole { secret_id, .. } => readable(secret_id),
            VaultAuth::Jwt { token, .. } | VaultAuth::Token(token) => readable(token),
            VaultAuth::Kubernetes { token, .. } => where_named(token),
        },
    }
}

fn of_aws(credentials: &AwsCredentials) -> Result<(), Error> {
    match credentials {
        AwsCredentials::Container { token: Some(token), .. } | AwsCredentials::WebIdentity { token, .. } => {
            readable(token)
        }
        AwsCredentials::Container { token: None, .. } | AwsCredentials::Instance { .. } => Ok(()),
        AwsCredentials::Profile { file, .. } => readable(&SecretSource::File(file.clone())),
        AwsCredentials::Static { access_key_id, secret_access_key, session_token } => {
            readable(access_key_id)?;
            readable(secret_access_key)?;
            session_token.as_ref().map_or(Ok(()), readable)
        }
    }
}

fn of_azure(credentials: &AzureCredentials) -> Result<(), Error> {
    match credentials {
        AzureCredentials::Certificate(_, certificate) => {
            TlsSettings { ca: None, client_certificate: Some(certificate.clone()) }.check()
        }
        AzureCredentials::ClientSecret(_, secret) => readable(secret),
        AzureCredentials::WorkloadIdentity(_, token) => where_named(&SecretSource::File(token.clone())),
        AzureCredentials::AppService { .. } | AzureCredentials::ManagedIdentity { .. } => Ok(()),
    }
}

fn readable(source: &SecretSource) -> Result<(), Error> {
    source.read().map(|_| ())
}

/// A file at its usual place is filled by the platform, where there is one.
fn where_named(source: &SecretSource) -> Result<(), Error> {
    match source {
        SecretSource::File(path) if path.starts_with(PLATFORM) && !Path::new(path).exists() => Ok(()),
        source => readable(source),
    }
}

fn json(source: &SecretSource) -> Result<(), Error> {
    let text = source.read()?;
    match serde_json::from_str::<serde::de::IgnoredAny>(text.expose()) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::Credential { place: source.place(), what: "is not JSON" }),
    }
}

/// Where Kubernetes mounts what it gives to pods.
const PLATFORM: &str = "/var/run/secrets";
