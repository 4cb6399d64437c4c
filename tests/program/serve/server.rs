//! The server as a user starts it, and requests to it.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A server that runs; it ends when dropped.
pub(crate) struct Serving {
    pub(crate) child: Child,
    /// What it printed: the address of the page.
    pub(crate) url: String,
    pub(crate) port: u16,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("{error} in {}", String::from_utf8_lossy(&self.body));
        })
    }

    pub(crate) fn error(&self) -> String {
        let json = self.json();
        json["error"].as_str().expect("a message").to_owned()
    }
}

impl Serving {
    /// Starts the program on a free port over `folder/results`.
    pub(crate) fn start(folder: &Path, more: &[&str]) -> Self {
        let mut child = Command::new(assert_cmd::cargo::cargo_bin("orchestrator"))
            .args(["serve", "--port", "0"])
            .args(more)
            .current_dir(folder)
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.take().expect("its output"));
        said.read_line(&mut line).expect("a line");
        let url = line.trim().to_owned();
        let port = url.split(':').nth(2).and_then(|rest| {
            let digits = rest.split('/').next()?;
            digits.parse().ok()
        });
        // Nobody reads on: what it says more must not block it.
        child.stdout = Some(said.into_inner());
        Self {
            port: port.unwrap_or_else(|| panic!("no address in {url:?}")),
            child,
            url,
        }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        let host = format!("127.0.0.1:{}", self.port);
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n"), "")
    }

    pub(crate) fn post(&self, path: &str, body: &str, more: &str) -> Answer {
        let host = format!("127.0.0.1:{}", self.port);
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n{more}"
        );
        self.ask(&head, body)
    }

    /// Sends a request whose head lacks its last lines.
    pub(crate) fn ask(&self, head: &str, body: &str) -> Answer {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("connected");
        let patience = Duration::from_secs(120);
        stream.set_read_timeout(Some(patience)).expect("set");
        write!(stream, "{head}Connection: close\r\n\r\n{body}").expect("sent");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("an answer");
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.expect("a head");
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        Answer {
            status: status.expect("a status"),
            head,
            body: bytes.split_off(end + 4),
        }
    }

    /// Asks it to end, as Ctrl-C does, and returns its exit status.
    pub(crate) fn interrupt(&mut self) -> Option<i32> {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("signalled");
        self.child.wait().expect("ended").code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
