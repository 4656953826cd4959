//! What a listener is told. The facade has checked it and filled in the defaults; here it is only made safe.

use std::time::Duration;

use hyperpull::{
    config::{Config, Limits, Protocols, Timeouts},
    error::{Code, Error},
};
use napi_derive::napi;

use crate::bind::{self, Listening};

/// Everything a listener is told; every field is given.
#[napi(object, object_to_js = false, use_nullable = true)]
pub struct NativeListenOptions {
    /// An address, or a name that resolves to one.
    pub host: String,
    /// 0 picks a free one.
    pub port: u32,
    /// A Unix-domain socket instead of host and port.
    pub path: Option<String>,
    /// Connections that wait to be accepted.
    pub backlog: u32,
    /// SO_REUSEPORT.
    pub reuse_port: bool,
    /// 0: the JavaScript thread does the work.
    pub io_threads: u32,
    /// 0 both, 1 http/1.1, 2 h2.
    pub protocols: u32,
    /// RFC 8441.
    pub extended_connect: bool,
    /// An HTTP/1.1 peer that has closed its sending side gets its answer.
    pub half_close: bool,
    /// Connections that come up before they are pulled, per I/O loop.
    pub read_ahead_connections: u32,
    /// 0 or 1.
    pub read_ahead_requests: u32,
    /// connections, requestsInFlight, requestsPerConnection, headerBytes, headerCount, targetBytes, bodyBytes,
    /// concurrentStreams, bufferedBytes.
    pub limits: Vec<f64>,
    /// handshake, headers, bodyIdle, keepAliveIdle, writeStall, connectionAge, h2Ping, in ms; 0 is off.
    pub timeouts: Vec<f64>,
}

/// I/O threads of one listener at most, as the facade has it.
const IO_THREADS_MAX: u32 = 64;

/// The options, typed.
pub struct Settings {
    pub io_threads: usize,
    pub connections: u64,
    pub requests_in_flight: u64,
    pub read_ahead_connections: u64,
    pub read_ahead_requests: bool,
    pub config: Config,
}

fn invalid(what: &'static str) -> Error {
    Error::new(Code::InvalidOption, what)
}

impl NativeListenOptions {
    /// The options, typed.
    pub fn settings(&self) -> Result<Settings, Error> {
        if self.io_threads > IO_THREADS_MAX {
            return Err(invalid("ioThreads must be from 0 to 64"));
        }
        let &[connections, requests_in_flight, ref of_a_connection @ ..] = self.limits.as_slice() else {
            return Err(invalid("limits must be nine numbers"));
        };
        Ok(Settings {
            io_threads: self.io_threads as usize,
            connections: (number(connections)? as u64).min(possible_connections()),
            requests_in_flight: number(requests_in_flight)? as u64,
            read_ahead_connections: u64::from(self.read_ahead_connections),
            read_ahead_requests: self.read_ahead_requests != 0,
            config: self.config(of_a_connection)?,
        })
    }

    /// What each connection is told.
    fn config(&self, of_a_connection: &[f64]) -> Result<Config, Error> {
        let mut config = Config::default();
        config.protocols = match self.protocols {
            0 => Protocols::Both,
            1 => Protocols::Http1,
            2 => Protocols::Http2,
            _ => return Err(invalid("protocols must be 0, 1 or 2")),
        };
        config.extended_connect = self.extended_connect;
        config.half_close = self.half_close;
        config.limits = limits(of_a_connection)?;
        config.timeouts = timeouts(&self.timeouts)?;
        Ok(config)
    }

    /// Binds what the options name.
    pub fn bind(&self) -> Result<Listening, Error> {
        let backlog = i32::try_from(self.backlog).unwrap_or(i32::MAX);
        if let Some(path) = &self.path {
            return bind::unix(path, backlog);
        }
        let port = u16::try_from(self.port).map_err(|_| invalid("port must be from 0 to 65535"))?;
        bind::tcp(&self.host, port, backlog, self.reuse_port)
    }
}

/// A number that may be Infinity. A cast of it saturates: the largest number there is, and that is no limit.
fn number(given: f64) -> Result<f64, Error> {
    if given >= 0.0 { Ok(given) } else { Err(invalid("limits and timeouts must be numbers from 0 on")) }
}

fn limits(given: &[f64]) -> Result<Limits, Error> {
    let &[per_connection, header_bytes, header_count, target_bytes, body_bytes, streams, buffered] = given else {
        return Err(invalid("limits must be nine numbers"));
    };
    let mut limits = Limits::default();
    limits.requests_per_connection = number(per_connection)? as u64;
    limits.header_bytes = number(header_bytes)? as usize;
    limits.header_count = number(header_count)? as usize;
    limits.target_bytes = number(target_bytes)? as usize;
    limits.body_bytes = number(body_bytes)? as u64;
    limits.concurrent_streams = number(streams)? as u32;
    limits.buffered_bytes = number(buffered)? as u32;
    Ok(limits)
}

fn timeouts(given: &[f64]) -> Result<Timeouts, Error> {
    let &[handshake, headers, body_idle, keep_alive_idle, write_stall, connection_age, h2_ping] = given else {
        return Err(invalid("timeouts must be seven numbers"));
    };
    let mut timeouts = Timeouts::default();
    timeouts.handshake = duration(handshake)?;
    timeouts.headers = duration(headers)?;
    timeouts.body_idle = duration(body_idle)?;
    timeouts.keep_alive_idle = duration(keep_alive_idle)?;
    timeouts.write_stall = duration(write_stall)?;
    timeouts.connection_age = duration(connection_age)?;
    timeouts.h2_ping = duration(h2_ping)?;
    Ok(timeouts)
}

/// Descriptors that are left to the rest of the process: its files, its own connections, what the runtime keeps open.
#[cfg(unix)]
const OTHER_FILES: u64 = 256;

/// As many connections as the process has descriptors for, beside its others. With few of them, the half.
#[cfg(unix)]
fn possible_connections() -> u64 {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    files.saturating_sub(OTHER_FILES).max(files / 2)
}

/// Windows has no such limit.
#[cfg(not(unix))]
fn possible_connections() -> u64 {
    u64::MAX
}

/// Off at 0 and from a century on.
fn duration(ms: f64) -> Result<Option<Duration>, Error> {
    const CENTURY_MS: f64 = 100.0 * 365.0 * 24.0 * 3600.0 * 1000.0;
    let ms = number(ms)?;
    Ok((ms > 0.0 && ms < CENTURY_MS).then(|| Duration::from_secs_f64(ms / 1000.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> NativeListenOptions {
        NativeListenOptions {
            host: "127.0.0.1".into(),
            port: 0,
            path: None,
            backlog: 16,
            reuse_port: false,
            io_threads: 1,
            protocols: 0,
            extended_connect: true,
            half_close: true,
            read_ahead_connections: 64,
            read_ahead_requests: 1,
            limits: vec![f64::INFINITY; 9],
            timeouts: vec![0.0; 7],
        }
    }

    #[test]
    fn infinity_is_no_limit_and_zero_is_no_timeout() {
        let Ok(settings) = options().settings() else { panic!("refused") };
        assert_eq!(settings.connections, possible_connections());
        assert_eq!(settings.config.limits.body_bytes, u64::MAX);
        assert!(settings.config.timeouts.headers.is_none());
    }

    #[test]
    fn nonsense_is_refused() {
        let nonsense: [fn(&mut NativeListenOptions); 5] = [
            |options| options.limits.truncate(8),
            |options| options.timeouts = vec![f64::NAN; 7],
            |options| options.limits = vec![-1.0; 9],
            |options| options.io_threads = 100_000,
            |options| options.protocols = 3,
        ];
        for spoil in nonsense {
            let mut options = options();
            spoil(&mut options);
            assert!(options.settings().is_err_and(|error| error.code() == Code::InvalidOption));
        }
        let mut options = options();
        options.port = 65_536;
        assert!(options.bind().is_err_and(|error| error.code() == Code::InvalidOption));
    }
}
