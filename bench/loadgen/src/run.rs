//! The requests of one run, by one thread and one poller.

use std::collections::VecDeque;
use std::io::{Error, Result};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use polling::{Events, Poller};

use crate::connection::Connection;
use crate::options::Options;
use crate::report::Report;

/// Failures after which nothing is to be learnt any more.
const TOO_MANY: usize = 1000;

pub struct Run<'a> {
    options: &'a Options,
    poller: Poller,
    events: Events,
    scratch: Vec<u8>,
    connections: Vec<Connection>,
    /// Those without a request under way.
    idle: VecDeque<usize>,
    request: Vec<u8>,
}

impl<'a> Run<'a> {
    pub fn new(options: &'a Options) -> Result<Self> {
        Ok(Self {
            options,
            poller: Poller::new()?,
            events: Events::with_capacity(NonZeroUsize::new(1024).unwrap_or(NonZeroUsize::MIN)),
            scratch: vec![0; 1 << 16],
            connections: (0..options.connections).map(Connection::new).collect(),
            idle: (0..options.connections).collect(),
            request: format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n", options.port).into_bytes(),
        })
    }

    /// One answer on each connection: a 200, or the 101 of the handshake.
    pub fn open(&mut self) -> Result<()> {
        let websocket = self.options.websocket;
        if websocket > 0 {
            let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n";
            let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
            self.request.truncate(self.request.len() - 2);
            self.request.extend([upgrade, key].concat().into_bytes());
        }
        let opened = self.requests(self.connections.len(), 0.0, 0)?;
        if opened.failed > 0 {
            return Err(Error::other(format!("{} connections could not be opened", opened.failed)));
        }
        if websocket > 0 {
            self.connections.iter_mut().for_each(Connection::upgraded);
            self.request = message(websocket);
        }
        Ok(())
    }

    pub fn make(&mut self) -> Result<Report> {
        let open = self.connections.iter().filter(|connection| connection.is_open()).count();
        let report = self.requests(self.options.requests, self.options.rate, self.options.per_connection)?;
        Ok(Report { open, ..report })
    }

    fn requests(&mut self, count: usize, rate: f64, per_connection: usize) -> Result<Report> {
        let start = Instant::now();
        let mut report = Report { latencies: Vec::with_capacity(count), ..Report::default() };
        let mut sent = 0;
        while report.answered() + report.failed < count {
            let mut wait = None;
            while sent < count && !self.idle.is_empty() {
                let now = Instant::now();
                let intended = if rate > 0.0 { start + Duration::from_secs_f64(sent as f64 / rate) } else { now };
                if intended > now {
                    wait = Some(intended - now);
                    break;
                }
                if let Some(number) = self.idle.pop_front() {
                    sent += 1;
                    let sending =
                        self.connections[number].send(&self.poller, self.options.port, &self.request, intended);
                    sending.or_else(|error| self.failed(number, &error, &mut report))?;
                }
            }
            self.events.clear();
            self.poller.wait(&mut self.events, wait)?;
            let ready: Vec<usize> = self.events.iter().map(|event| event.key).collect();
            for number in ready {
                let connection = &mut self.connections[number];
                match connection.receive(&mut self.scratch) {
                    Ok(None) => {}
                    Ok(Some(intended)) => {
                        report.latencies.push(intended.elapsed());
                        if connection.answered == per_connection {
                            connection.close(&self.poller);
                        }
                        self.idle.push_back(number);
                    }
                    Err(error) => self.failed(number, &error, &mut report)?,
                }
            }
        }
        report.seconds = start.elapsed().as_secs_f64();
        Ok(report)
    }

    /// The request that was under way has failed; the next one of this connection opens it again.
    fn failed(&mut self, number: usize, error: &Error, report: &mut Report) -> Result<()> {
        let connection = &mut self.connections[number];
        if connection.since.is_some() {
            report.failed += 1;
            self.idle.push_back(number);
        }
        connection.close(&self.poller);
        if report.failed > TOO_MANY {
            Err(Error::other(format!("too many failures, the last one: {error}")))
        } else {
            Ok(())
        }
    }
}

/// RFC 6455 section 5.2: a masked binary message.
fn message(length: usize) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![0x82];
    match u16::try_from(length) {
        Ok(short @ 0..126) => frame.push(0x80 | short as u8),
        Ok(long) => frame.extend([&[0x80 | 126], &long.to_be_bytes()[..]].concat()),
        Err(_) => unreachable!("a message of less than 64 KiB"),
    }
    frame.extend(mask);
    frame.extend((0..length).map(|at| b'x' ^ mask[at % 4]));
    frame
}
