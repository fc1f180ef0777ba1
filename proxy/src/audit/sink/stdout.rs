//! Standard output: an entry a line, for those who collect a container's output.

use std::io::Write;

use super::{Delivery, Piece, Sink};
use crate::config::SinkFormat;

/// Writes lines of JSON.
pub struct StdoutSink {
    /// What they look like.
    pub format: SinkFormat,
}

impl Sink for StdoutSink {
    fn deliver<'a>(&'a mut self, piece: &'a Piece) -> Delivery<'a> {
        let mut lines = Vec::new();
        for entry in &piece.entries {
            lines.extend(entry.as_format(self.format, &piece.origin));
            lines.push(b'\n');
        }
        Box::pin(async move {
            // Whoever reads it may stop reading: no thread of the runtime may hang on that.
            let written = tokio::task::spawn_blocking(move || {
                let mut out = std::io::stdout().lock();
                out.write_all(&lines).and_then(|()| out.flush())
            });
            written.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
        })
    }

    fn is_acknowledged(&self) -> bool {
        false
    }

    fn wants_history(&self) -> bool {
        false
    }
}
