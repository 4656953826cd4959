//! Load of three kinds that h2load and wrk do not make: at a fixed rate with the latency counted from the intended start,
//! with a number of requests per connection, and of WebSocket messages.
//!
//!     bench-loadgen [--connections N] [--requests N] [--rate PER_SECOND] [--per-connection N] [--websocket BYTES] PORT
//!
//! Opens the connections and has one answer on each of them, says `ready`, waits for a line on stdin, makes the requests,
//! prints one line of JSON, and holds the connections until stdin ends. So who measures can look before and after, and
//! sees the requests alone. (With --per-connection, connections are part of the measurement: none is opened before.)

mod connection;
mod options;
mod reply;
mod report;
mod run;

use std::error::Error;
use std::io::{Read, Write, stdin, stdout};

use options::Options;
use run::Run;

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse()?;
    let mut run = Run::new(&options)?;
    if options.per_connection == 0 {
        run.open()?;
    }
    say("ready")?;
    stdin().read_line(&mut String::new())?;
    say(&run.make()?.json())?;
    stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn say(line: &str) -> std::io::Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
