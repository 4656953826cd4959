//! The example of hyper issue #2901, as a process, asked by curl over both protocols.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

struct Server(Child, String);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn server() -> Server {
    // Built by cargo with the tests, beside them.
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("examples/issue_2901");
    let mut child = Command::new(path).env("PORT", "0").stdout(Stdio::piped()).spawn().expect("the example is built");
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    Server(child, line.trim().to_owned())
}

fn curl(server: &Server, flags: &[&str]) -> String {
    let output = Command::new("curl")
        .args(["-sS", "--max-time", "10"])
        .args(flags)
        .arg(format!("{}/x", server.1))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn it_answers_curl_over_both_protocols_without_a_spawn() {
    let server = server();
    for protocol in ["--http1.1", "--http2-prior-knowledge"] {
        assert_eq!(curl(&server, &[protocol]), "GET /x Ok(0)\n");
        assert_eq!(curl(&server, &[protocol, "-d", "hello"]), "POST /x Ok(5)\n");
    }
}

#[test]
fn it_hands_over_an_upgraded_stream() {
    let server = server();
    let mut socket = TcpStream::connect(server.1.trim_start_matches("http://")).unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n").unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
    assert!(seen.starts_with(b"HTTP/1.1 101 "));
    socket.write_all(b"there and back").unwrap();
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    let mut back = String::new();
    socket.read_to_string(&mut back).unwrap();
    assert_eq!(back, "there and back");
}
