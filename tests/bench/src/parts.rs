//! The parts that a sealing gateway cannot do without, each measured alone on this machine: AEAD, CRC, copy, TLS, and bytes from
//! one loopback socket to another. Their sum is the limit that a measured gateway is compared with. It has no framing, no
//! parsing, no keys to look up and no answers to relay in it: a gateway that meets it would be doing nothing else.

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crc_fast::CrcAlgorithm;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::{ClientConnection, ServerConnection};
use rustls_pki_types::ServerName;

use crate::error::{Attempt, Error};
use crate::load::MEBIBYTE;
use crate::process;
use crate::tls::Certificates;

/// Milliseconds of CPU for each mebibyte of record values.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parts {
    /// AES-256-GCM seal of values of the given size, one by one.
    pub seal: f64,
    /// AES-256-GCM open.
    pub open: f64,
    /// CRC-32C of a batch, once.
    pub crc: f64,
    /// One copy of a batch.
    pub copy: f64,
    /// TLS 1.3 encryption in records of 16 KiB.
    pub encrypt: f64,
    /// TLS 1.3 decryption.
    pub decrypt: f64,
    /// Read from a loopback socket and written to another, 64 KiB at a time.
    pub relay: f64,
}

impl Parts {
    /// Measures all parts for values of `value_bytes`; takes about two seconds.
    pub fn measure(value_bytes: usize, certificates: &Certificates) -> Result<Self, Error> {
        let (seal, open) = aead(value_bytes)?;
        let (encrypt, decrypt) = tls(certificates)?;
        Ok(Self { seal, open, crc: crc(), copy: copy(), encrypt, decrypt, relay: relay()? })
    }

    /// Bytes through, untouched.
    pub fn pass(&self) -> f64 {
        self.relay
    }

    /// Relay, check of the batch that came, one copy into the rebuilt one, seal, CRC of the new one.
    pub fn seal_path(&self) -> f64 {
        self.relay + 2.0 * self.crc + self.copy + self.seal
    }

    /// The same on the way back, with open in the place of seal.
    pub fn open_path(&self) -> f64 {
        self.relay + 2.0 * self.crc + self.copy + self.open
    }
}

fn aead(value_bytes: usize) -> Result<(f64, f64), Error> {
    let broken = |_| Error::Setup("AES-256-GCM failed".into());
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).map_err(broken)?);
    let mut counter = 0_u64;
    let mut value = vec![1; value_bytes];
    let mut failed = false;
    let seal = per_mebibyte(value_bytes, || {
        counter += 1;
        let tag = key.seal_in_place_separate_tag(nonce(counter), Aad::from([0; ASSOCIATED]), &mut value);
        failed |= black_box(tag).is_err();
    });
    let mut sealed = vec![2; value_bytes];
    key.seal_in_place_append_tag(nonce(0), Aad::from([0; ASSOCIATED]), &mut sealed).map_err(broken)?;
    let mut work = sealed.clone();
    let open = per_mebibyte(value_bytes, || {
        // Opening destroys its input, so the copy is part of it; the `copy` part shows how little that is.
        work.copy_from_slice(&sealed);
        failed |= black_box(key.open_in_place(nonce(0), Aad::from([0; ASSOCIATED]), &mut work)).is_err();
    });
    if failed { Err(Error::Setup("AES-256-GCM failed".into())) } else { Ok((seal, open)) }
}

fn nonce(counter: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce.iter_mut().skip(4).zip(counter.to_be_bytes()).for_each(|(place, byte)| *place = byte);
    Nonce::assume_unique_for_key(nonce)
}

fn crc() -> f64 {
    let batch = vec![3; BATCH];
    per_mebibyte(BATCH, || {
        black_box(crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, black_box(&batch)));
    })
}

fn copy() -> f64 {
    let (batch, mut to) = (vec![4; BATCH], vec![0; BATCH]);
    per_mebibyte(BATCH, || black_box(&mut to).copy_from_slice(black_box(&batch)))
}

/// Encryption by one side and decryption by the other, in memory, timed apart.
fn tls(certificates: &Certificates) -> Result<(f64, f64), Error> {
    let name = ServerName::try_from("localhost").map_err(|_| Error::Setup("bad server name".into()))?;
    let mut client = ClientConnection::new(certificates.client_config()?, name)?;
    let mut server = ServerConnection::new(certificates.server_config()?)?;
    let mut wire = Vec::new();
    let in_memory = || "move TLS bytes in memory".into();
    while client.is_handshaking() || server.is_handshaking() {
        client.write_tls(&mut wire).attempt(in_memory)?;
        feed(&wire, |bytes| server.read_tls(bytes))?;
        server.process_new_packets()?;
        wire.clear();
        server.write_tls(&mut wire).attempt(in_memory)?;
        feed(&wire, |bytes| client.read_tls(bytes))?;
        client.process_new_packets()?;
        wire.clear();
    }
    client.set_buffer_limit(None);
    let (batch, mut plain) = (vec![5; BATCH], vec![0; BATCH]);
    let (mut encrypt, mut decrypt) = (Duration::MAX, Duration::MAX);
    for _ in 0..TLS_ROUNDS {
        let started = Instant::now();
        client.writer().write_all(&batch).attempt(in_memory)?;
        wire.clear();
        while client.wants_write() {
            client.write_tls(&mut wire).attempt(in_memory)?;
        }
        encrypt = encrypt.min(started.elapsed());

        let started = Instant::now();
        let (mut rest, mut read) = (wire.as_slice(), 0);
        while !rest.is_empty() {
            server.read_tls(&mut rest).attempt(in_memory)?;
            server.process_new_packets()?;
            let space = plain.get_mut(read..).unwrap_or_default();
            read += server.reader().read(space).or_else(nothing_yet).attempt(in_memory)?;
        }
        decrypt = decrypt.min(started.elapsed());
        if read != BATCH {
            return Err(Error::Mismatch(format!("tls gave back {read} bytes of {BATCH}")));
        }
    }
    let scaled = |time: Duration| time.as_secs_f64() * 1e3 * MEBIBYTE / BATCH as f64;
    Ok((scaled(encrypt), scaled(decrypt)))
}

fn nothing_yet(error: std::io::Error) -> std::io::Result<usize> {
    match error.kind() {
        std::io::ErrorKind::WouldBlock => Ok(0),
        _ => Err(error),
    }
}

fn feed(mut wire: &[u8], mut read: impl FnMut(&mut &[u8]) -> std::io::Result<usize>) -> Result<(), Error> {
    while !wire.is_empty() {
        read(&mut wire).attempt(|| "move TLS bytes in memory".into())?;
    }
    Ok(())
}

/// CPU of a thread that does nothing but carry bytes from one loopback connection to another.
fn relay() -> Result<f64, Error> {
    let (mut source, mut inlet) = pair()?;
    let (mut outlet, mut sink) = pair()?;
    thread::scope(|scope| {
        scope.spawn(move || {
            let chunk = vec![6; BATCH];
            let end = Instant::now() + RELAY_TIME;
            while Instant::now() < end && source.write_all(&chunk).is_ok() {}
        });
        scope.spawn(move || {
            let mut space = vec![0; 4 * BATCH];
            while sink.read(&mut space).is_ok_and(|read| read > 0) {}
        });
        let carrier = scope.spawn(move || {
            let (mut space, mut carried) = (vec![0; BATCH], 0_u64);
            let before = process::own_thread();
            while let Ok(read @ 1..) = inlet.read(&mut space) {
                if outlet.write_all(space.get(..read).unwrap_or_default()).is_err() {
                    break;
                }
                carried += read as u64;
            }
            let used = process::own_thread().saturating_sub(before);
            used.as_secs_f64() * 1e3 * MEBIBYTE / carried.max(1) as f64
        });
        carrier.join().map_err(|_| Error::Setup("the relay thread panicked".into()))
    })
}

fn pair() -> Result<(TcpStream, TcpStream), Error> {
    let connect = || {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let near = TcpStream::connect(listener.local_addr()?)?;
        Ok((near, listener.accept()?.0))
    };
    connect().attempt(|| "connect a loopback pair".into())
}

/// The quickest of several samples: the others met something that is not the part.
fn per_mebibyte(bytes: usize, mut work: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..SAMPLES {
        let (started, mut turns) = (Instant::now(), 0_u32);
        while started.elapsed() < SAMPLE {
            for _ in 0..16 {
                work();
            }
            turns += 16;
        }
        best = best.min(started.elapsed().as_secs_f64() / f64::from(turns));
    }
    best * 1e3 * MEBIBYTE / bytes as f64
}

/// Bytes of associated data, about what a sealed record binds.
const ASSOCIATED: usize = 48;
const BATCH: usize = 64 << 10;
const SAMPLES: usize = 9;
const SAMPLE: Duration = Duration::from_millis(10);
const TLS_ROUNDS: usize = 2000;
const RELAY_TIME: Duration = Duration::from_secs(1);
