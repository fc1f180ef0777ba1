//! The operations surface: plain HTTP for probes and Prometheus, on an address of its own; and HTTPS for those who prove
//! who they are, where operators see the same and auditors the audit log. `/livez` says that the process answers, `/readyz`
//! whether clients should be sent here, `/metrics` what it counts. No record, no key and no name of a principal may ever be
//! shown on the plain address: there is no authentication.

mod readiness;
mod secure;

use std::io;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use readiness::{Condition, Readiness};
pub use secure::Secure;

use crate::metrics::Metrics;

/// Answers until the gateway ends. During a drain it still answers, so that load balancers see the gateway leave;
/// `ended` turns true when the last client connection is gone.
pub async fn serve(socket: TcpListener, operations: Router, mut ended: watch::Receiver<bool>) -> io::Result<()> {
    let until_ended = async move {
        // A sender that is gone counts as the end.
        ended.wait_for(|ended| *ended).await.ok();
    };
    axum::serve(socket, operations).with_graceful_shutdown(until_ended).await
}

/// What operators see: `/livez`, `/readyz`, `/metrics`.
pub fn operations(metrics: Arc<Metrics>, readiness: Arc<Readiness>) -> Router {
    Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready).with_state(readiness))
        .route("/metrics", get(text).with_state(metrics))
}

async fn live() -> &'static str {
    "ok\n"
}

async fn ready(State(readiness): State<Arc<Readiness>>) -> Response {
    let report = readiness.report();
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report)).into_response()
}

async fn text(State(metrics): State<Arc<Metrics>>) -> Response {
    match metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => {
            tracing::error!(event = "metrics_not_encoded", %error);
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Where the witness of other gateways' logs answers (C2SP tlog-witness), on both listeners. On the plain one nobody is
/// authenticated; only a checkpoint that a known log has signed changes anything.
pub const WITNESS: &str = "/witness";

/// OpenMetrics 1.0, section 4.1.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn ask(address: std::net::SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn probes_and_metrics_answer() {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let readiness = Arc::new(Readiness::default());
        let keyring = readiness.condition("keyring");
        let (end, ended) = watch::channel(false);
        let serving = tokio::spawn(serve(socket, operations(Arc::new(Metrics::default()), readiness.clone()), ended));

        assert!(ask(address, "/livez").await.starts_with("HTTP/1.1 200"));
        let answer = ask(address, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains(r#"{"name":"keyring","ok":false,"reason":"starting"}"#), "{answer}");
        keyring.met();
        let answer = ask(address, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains(r#""ready":true"#), "{answer}");
        let answer = ask(address, "/metrics").await;
        assert!(answer.contains("application/openmetrics-text"), "{answer}");
        assert!(answer.contains("barnabas_downstream_connections_open 0"), "{answer}");
        assert!(ask(address, "/other").await.starts_with("HTTP/1.1 404"));

        end.send_replace(true);
        serving.await.unwrap().unwrap();
    }
}
