//! What is asked for on the command line.

use lexopt::prelude::*;

pub struct Options {
    pub port: u16,
    pub connections: usize,
    pub requests: usize,
    /// Requests per second, spread evenly; 0: each connection asks again when it has its answer.
    pub rate: f64,
    /// Requests after which a connection is closed and another opened; 0: never.
    pub per_connection: usize,
    /// Bytes of a WebSocket message; 0: plain HTTP.
    pub websocket: usize,
}

impl Options {
    pub fn parse() -> Result<Self, lexopt::Error> {
        let mut options = Self { port: 0, connections: 64, requests: 0, rate: 0.0, per_connection: 0, websocket: 0 };
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("connections") => options.connections = arguments.value()?.parse()?,
                Long("requests") => options.requests = arguments.value()?.parse()?,
                Long("rate") => options.rate = arguments.value()?.parse()?,
                Long("per-connection") => options.per_connection = arguments.value()?.parse()?,
                Long("websocket") => options.websocket = arguments.value()?.parse()?,
                Value(port) => options.port = port.parse()?,
                other => return Err(other.unexpected()),
            }
        }
        if options.port == 0 || options.connections == 0 {
            return Err("a port and at least one connection are needed".into());
        }
        Ok(options)
    }
}
