//! The agent: one line of JSON asks for something, one line answers.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use cluster::app::{AGENT_PORT, Request, Response};

use crate::load::Loads;
use crate::servers::{Records, listen};
use crate::{client, measure};

#[derive(Debug)]
struct Agent {
    loads: Loads,
    records: Records,
}

/// Starts it.
pub(crate) fn start(records: Records) {
    let agent = Arc::new(Agent { loads: Loads::default(), records });
    listen(AGENT_PORT, move |stream, _| agent.serve(stream));
}

impl Agent {
    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut line = String::new();
        BufReader::new(stream.try_clone()?).read_line(&mut line)?;
        let response = match serde_json::from_str(&line) {
            Ok(request) => self.answer(request),
            Err(e) => Response { error: Some(e.to_string()), ..Response::default() },
        };
        let mut line = serde_json::to_string(&response)?;
        line.push('\n');
        stream.write_all(line.as_bytes())
    }

    fn answer(&self, request: Request) -> Response {
        let mut response = Response::default();
        match request {
            Request::Ask { to, text, count } => {
                let text = text.as_deref().map(str::as_bytes);
                response.answers = (0..count).map(|_| client::ask(&to, text)).collect();
            }
            Request::AskUdp { to, text } => response.answers.push(client::ask_udp(&to, &text)),
            Request::Resolve { name } => match client::resolve(&name) {
                Ok(addresses) => response.addresses = addresses,
                Err(e) => response.error = Some(e.to_string()),
            },
            Request::Load { id, to, kind, threads, every_ms } => {
                self.loads.start(id, to, kind, threads, Duration::from_millis(every_ms));
            }
            Request::Count { id } => match self.loads.counts(&id) {
                Some(counts) => response.load = counts,
                None => response.error = Some(format!("there is no load {id}")),
            },
            Request::Stop { id } => match self.loads.stop(&id) {
                Some(counts) => response.load = counts,
                None => response.error = Some(format!("there is no load {id}")),
            },
            Request::Records => response.records = self.records.lock().unwrap().clone(),
            Request::Measure { to, connects, threads, duration_ms } => {
                let duration = Duration::from_millis(duration_ms);
                response.measured = measure::measure(to, connects, threads, duration);
            }
        }
        response
    }
}
