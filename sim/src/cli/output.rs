//! Standard output, whose reader may go away at any time.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use serde_json::Value;

use super::Failure;

/// Buffered standard output.
pub(crate) struct Output(BufWriter<StdoutLock<'static>>);

/// What a failure to write to it is called.
pub(crate) fn output_failed(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => {
            Failure::new("whoever read the output went away before it ended")
        }
        _ => Failure::new(format!("standard output cannot be written: {error}")),
    }
}

impl Output {
    /// Takes standard output.
    pub(crate) fn new() -> Self {
        Self(BufWriter::with_capacity(1 << 16, io::stdout().lock()))
    }

    /// Whether colours are seen and wanted.
    pub(crate) fn is_coloured() -> bool {
        io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.0.write_all(bytes).map_err(output_failed)
    }

    /// Writes text and a line end.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        writeln!(self.0, "{text}").map_err(output_failed)
    }

    /// Writes a JSON document over several lines.
    pub(crate) fn document(&mut self, value: &Value) -> Result<(), Failure> {
        self.line(&format!("{value:#}"))
    }

    /// Writes what is buffered.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        self.0.flush().map_err(output_failed)
    }
}
