//! An example as a process, and those who talk to it: curl, and a client that says just what the test lets it say.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

/// Nothing here takes so long; a test that does hangs.
const HANGS: Duration = Duration::from_secs(30);

pub struct Server {
    process: Child,
    lines: Receiver<String>,
    pub address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    /// Runs an example on a free port. `cargo test` builds the examples, `cargo test --test name` does not.
    pub fn run(example: &str, variables: &[(&str, &str)]) -> Self {
        let mut path = std::env::current_exe().unwrap();
        path.pop();
        path.pop();
        path.push("examples");
        path.push(example);
        let mut command = Command::new(path);
        command.env("PORT", "0").envs(variables.iter().copied()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("`cargo build -p hyperpull --examples` comes first");
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut server = Self { process, lines, address: String::new() };
        server.address = server.line().trim_start_matches("http://").to_owned();
        server
    }

    /// The next line that it prints.
    pub fn line(&self) -> String {
        self.lines.recv_timeout(HANGS).expect("a line")
    }

    pub fn curl(&self, flags: &[&str], path: &str) -> String {
        curl(&self.address, flags, path)
    }

    pub fn client(&self) -> Client {
        Client::connect(&self.address)
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// As Ctrl-C does.
    pub fn interrupt(&self) {
        assert!(Command::new("kill").args(["-INT", &self.id().to_string()]).status().unwrap().success());
    }

    /// How it ended, after it has printed its last line.
    pub fn ended(&mut self) -> ExitStatus {
        assert_eq!(self.lines.recv_timeout(HANGS), Err(std::sync::mpsc::RecvTimeoutError::Disconnected));
        self.process.wait().unwrap()
    }
}

pub fn curl(address: &str, flags: &[&str], path: &str) -> String {
    let output = Command::new("curl")
        .args(["-sS", "--max-time", "30"])
        .args(flags)
        .arg(format!("http://{address}{path}"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub struct Client(pub TcpStream);

impl Client {
    pub fn connect(address: &str) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(HANGS)).unwrap();
        Self(socket)
    }

    pub fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).unwrap();
    }

    pub fn get(&mut self, path: &str) {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"));
    }

    /// Begins a request, whose body of `length` bytes the test sends when it likes.
    pub fn begin(&mut self, path: &str, length: usize) {
        self.send(&format!("PUT {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n"));
    }

    /// Reads up to `end`.
    pub fn read_to(&mut self, end: &str) -> String {
        let mut seen = Vec::new();
        while !seen.ends_with(end.as_bytes()) {
            let mut byte = [0];
            assert_eq!(self.0.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&seen));
            seen.push(byte[0]);
        }
        String::from_utf8(seen).unwrap()
    }

    /// Reads up to the end of the connection.
    pub fn read_all(&mut self) -> String {
        let mut seen = String::new();
        self.0.read_to_string(&mut seen).unwrap();
        seen
    }

    /// Nothing has come.
    pub fn is_silent(&self) -> bool {
        self.0.set_nonblocking(true).unwrap();
        let seen = self.0.peek(&mut [0]).map_err(|error| error.kind());
        self.0.set_nonblocking(false).unwrap();
        seen == Err(std::io::ErrorKind::WouldBlock)
    }
}
