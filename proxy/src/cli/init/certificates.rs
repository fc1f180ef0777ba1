//! A development authority: names arrive, certificates and keys in PEM leave. For trying out and for tests; its key lies
//! beside what it signs, so it must never sign for a gateway that others rely on.

use std::path::Path;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::{private_folder, write_new};
use crate::cli::{Exit, Failure};

/// Makes the authority, the gateway's certificate and one for each client; gives the files' paths.
pub(super) fn make(folder: &Path, clients: &[String], hosts: &[String]) -> Result<Vec<String>, Failure> {
    private_folder(folder)?;
    let mut made = Vec::new();
    let mut params = named("Barnabas development authority", &[])?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().map_err(refused)?;
    let authority = params.self_signed(&key).map_err(refused)?;
    made.push(write(folder, "ca", &authority, &key)?);
    let issuer = Issuer::new(params, key);

    let own = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut params = named("gateway", &[own.as_slice(), hosts].concat())?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    made.push(issue(folder, "gateway", &params, &issuer)?);
    for client in clients {
        let mut params = named(client, &[])?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        made.push(issue(folder, client, &params, &issuer)?);
    }
    Ok(made)
}

fn named(common_name: &str, hosts: &[String]) -> Result<CertificateParams, Failure> {
    let mut params = CertificateParams::new(hosts.to_vec()).map_err(refused)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.use_authority_key_identifier_extension = true;
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let day = |date: jiff::civil::Date| {
        rcgen::date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    params.not_before = day(today.saturating_sub(jiff::Span::new().days(1)));
    params.not_after = day(today.saturating_add(jiff::Span::new().days(DAYS)));
    Ok(params)
}

fn issue(
    folder: &Path,
    name: &str,
    params: &CertificateParams,
    issuer: &Issuer<'_, KeyPair>,
) -> Result<String, Failure> {
    let key = KeyPair::generate().map_err(refused)?;
    let certificate = params.signed_by(&key, issuer).map_err(refused)?;
    write(folder, name, &certificate, &key)
}

fn write(folder: &Path, name: &str, certificate: &Certificate, key: &KeyPair) -> Result<String, Failure> {
    let path = folder.join(format!("{name}.pem"));
    write_new(&path, certificate.pem().as_bytes(), 0o644)?;
    let pem = zeroize::Zeroizing::new(key.serialize_pem());
    write_new(&folder.join(format!("{name}.key")), pem.as_bytes(), 0o600)?;
    Ok(path.display().to_string())
}

fn refused(error: rcgen::Error) -> Failure {
    Failure::new(Exit::Failed, format!("a certificate cannot be made: {error}"))
}

/// The folder of certificates and keys.
pub(super) const FOLDER: &str = "tls";

/// Long enough for a prototype, short enough that nobody forgets that it is one.
const DAYS: i64 = 397;
