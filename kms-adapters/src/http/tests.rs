//! The client against a scripted peer on loopback: what it takes, what it refuses, and what it says of it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Answers each connection with the next text, then closes it. Gives the address and what was asked.
async fn peer(answers: Vec<&'static [u8]>) -> (String, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = vec![0; 8192];
            let read = stream.read(&mut buffer).await.unwrap();
            asked.push(String::from_utf8_lossy(&buffer[..read]).into_owned());
            stream.write_all(answer).await.unwrap();
        }
        asked
    });
    (address, task)
}

fn client(endpoint: &str) -> Client {
    Client::new(HttpSettings { plaintext: Plaintext::Loopback, ..HttpSettings::new(endpoint) }).unwrap()
}

async fn failure(answer: &'static [u8]) -> VendorError {
    let (address, _task) = peer(vec![answer]).await;
    client(&address).send(&Request::new(Method::GET, "/")).await.err().unwrap().into_vendor("test")
}

#[tokio::test]
async fn status_headers_and_body_arrive() {
    let (address, task) = peer(vec![b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nwait"]).await;
    let client = client(&format!("{address}/prefix/"));
    let request = Request::new(Method::POST, "/v1/x?y=1").secret_header(HeaderName::from_static("x-token"), "t");
    let response = client.send(&request.body(Zeroizing::new(b"body".to_vec()))).await.unwrap();
    assert_eq!((response.status, response.body.as_slice()), (429, &b"wait"[..]));
    let refusal = response.refusal("test");
    assert_eq!((refusal.cause, refusal.retry_after), (CustodyCause::Throttled, Some(Duration::from_secs(7))));
    let asked = &task.await.unwrap()[0];
    assert!(asked.starts_with("POST /prefix/v1/x?y=1 HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("x-token: t\r\n") && asked.contains("host: 127.0.0.1:"), "{asked}");
    assert!(asked.ends_with("\r\n\r\nbody"), "{asked}");
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_is_opened_again() {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (address, task) = peer(vec![answer, answer]).await;
    let client = client(&address);
    for _ in 0..2 {
        assert_eq!(client.send(&Request::new(Method::GET, "/")).await.unwrap().status, 200);
    }
    assert_eq!(task.await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_is_no_whole_answer_is_an_outage() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhal",
        b"SSH-2.0-other\r\n",
        b"",
        b"HTTP/1.1 307 Elsewhere\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    ] {
        let error = failure(answer).await;
        assert_eq!(error.cause, CustodyCause::Unreachable, "{error}");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let mut long = b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n".to_vec();
    long.resize(2_000_000, b'x');
    let error = failure(Box::leak(long.into_boxed_slice())).await;
    assert!(error.to_string().contains("1 MiB"), "{error}");
}

#[tokio::test]
async fn a_slow_answer_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let settings = HttpSettings { plaintext: Plaintext::Loopback, ..HttpSettings::new(address) };
    let client = Client::new(HttpSettings { request_timeout: Duration::from_millis(20), ..settings }).unwrap();
    let error = client.send(&Request::new(Method::GET, "/")).await.err().unwrap();
    assert!(error.to_string().contains("no answer within 20 ms"), "{error}");
}

#[tokio::test]
async fn nobody_there_is_an_outage() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = client(&address).send(&Request::new(Method::GET, "/")).await.err().unwrap().into_vendor("test");
    assert_eq!(error.cause, CustodyCause::Unreachable);
    assert!(error.to_string().contains("no connection"), "{error}");
}

#[test]
fn endpoints_that_are_not_to_be_spoken_to_are_refused() {
    for endpoint in [
        "http://example.com",
        "ftp://example.com",
        "example.com",
        "https://user:pass@example.com",
        "https://example.com/?query",
        "https://bad_host!/",
        "",
    ] {
        assert!(Client::new(HttpSettings::new(endpoint)).is_err(), "{endpoint}");
    }
    let client = Client::new(HttpSettings::new("https://example.com:443/a/b/")).unwrap();
    assert_eq!((client.authority(), client.prefix()), ("example.com", "/a/b"));
}

#[test]
fn plaintext_stays_on_this_machine_or_link() {
    let reaches = |allowed: Plaintext, address: &str| allowed.reaches(address.parse().unwrap());
    for (address, loopback, link) in [
        ("127.0.0.1", true, true),
        ("::1", true, true),
        ("169.254.169.254", false, true),
        ("fd00:ec2::254", false, true),
        ("10.0.0.1", false, false),
        ("8.8.8.8", false, false),
    ] {
        assert!(!reaches(Plaintext::Refused, address));
        assert_eq!(reaches(Plaintext::Loopback, address), loopback, "{address}");
        assert_eq!(reaches(Plaintext::LinkLocal, address), link, "{address}");
    }
}
