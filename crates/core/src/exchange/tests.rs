//! The tables: written out as docs/states.md, and walked at random beside a plain account of what an exchange promises.

#![allow(clippy::unwrap_used)]

use std::{
    fmt::{Debug, Write as _},
    fs,
};

use proptest::prelude::*;

use super::*;

/// A cell of a table: where to, or the code of the refusal; `None` cannot happen.
type Cell = Option<Result<String, &'static str>>;

/// One half's table, as text.
struct Half {
    name: &'static str,
    states: Vec<(String, &'static str)>,
    inputs: Vec<(String, &'static str)>,
    /// By state, by input.
    cells: Vec<Vec<Cell>>,
}

fn half<S: Copy + Debug + 'static>(
    name: &'static str,
    states: &'static [(S, &'static str)],
    next: impl Fn(S, Input) -> Option<Result<S, Refusal>>,
) -> Half {
    let cell = |state, input| {
        next(state, input).map(|next| next.map(|state| format!("{state:?}")).map_err(|(code, _)| code.as_str()))
    };
    let known = |&&(input, _): &&(Input, _)| states.iter().any(|&(state, _)| next(state, input).is_some());
    let inputs: Vec<_> = Input::ALL.iter().filter(known).collect();
    Half {
        name,
        cells: states
            .iter()
            .map(|&(state, _)| inputs.iter().map(|&&(input, _)| cell(state, input)).collect())
            .collect(),
        states: states.iter().map(|&(state, about)| (format!("{state:?}"), about.trim())).collect(),
        inputs: inputs.iter().map(|&&(input, about)| (format!("{input:?}").to_lowercase(), about.trim())).collect(),
    }
}

fn halves() -> [Half; 2] {
    [half("Receive", Receive::ALL, Receive::next), half("Send", Send::ALL, Send::next)]
}

impl Half {
    fn write(&self, entry: &[&str], exit: &[&str], page: &mut String) -> std::fmt::Result {
        writeln!(page, "\n## {} half\n\n```mermaid\nstateDiagram-v2", self.name)?;
        for entry in entry {
            writeln!(page, "    [*] --> {entry}")?;
        }
        let mut arrows: Vec<(String, Vec<&str>)> = Vec::new();
        for ((from, _), cells) in self.states.iter().zip(&self.cells) {
            for ((input, _), cell) in self.inputs.iter().zip(cells) {
                if let Some(Ok(to)) = cell {
                    let arrow = format!("    {from} --> {to}");
                    match arrows.iter_mut().find(|(known, _)| *known == arrow) {
                        Some((_, inputs)) => inputs.push(input),
                        None => arrows.push((arrow, vec![input])),
                    }
                }
            }
        }
        for (arrow, inputs) in arrows {
            writeln!(page, "{arrow}: {}", inputs.join(", "))?;
        }
        for exit in exit {
            writeln!(page, "    {exit}")?;
        }
        writeln!(page, "```\n\n| State | |\n|---|---|")?;
        for (state, about) in &self.states {
            writeln!(page, "| `{state}` | {about} |")?;
        }
        let names: Vec<_> = self.states.iter().map(|(state, _)| format!(" `{state}` |")).collect();
        writeln!(page, "\n| Input | |{}\n|---|---|{}", names.concat(), "---|".repeat(names.len()))?;
        for (column, (input, about)) in self.inputs.iter().enumerate() {
            write!(page, "| {input} | {about} |")?;
            for cells in &self.cells {
                match &cells[column] {
                    Some(Ok(to)) => write!(page, " {to} |")?,
                    Some(Err(code)) => write!(page, " `{code}` |")?,
                    None => write!(page, " |")?,
                }
            }
            writeln!(page)?;
        }
        Ok(())
    }
}

fn page() -> String {
    let mut page = "# The states of an exchange

<!-- Written by `UPDATE=1 cargo test -p hyperpull --lib states`. Do not edit. -->

An exchange is one request with its body and its response. Its two halves move each by itself; only leaving HTTP moves both.
[exchange.rs](../crates/core/src/exchange.rs) decides every transition, and this page is made of its tables.

In a table a name is the next state, a code is what the caller is refused with, which changes nothing, and an empty cell
cannot happen. Besides the tables there is one rule of lengths: a write beyond the declared Content-Length, and a finish
before it, is refused with `ERR_BODY_LENGTH_MISMATCH`, and the engine ends the exchange, since the answer can no longer be made
right.

An exchange ends with `Sent`, or with `Failed`, from any state. In a tunnel the receive half may go on after `Sent`.
"
    .to_owned();
    let [receive, send] = halves();
    receive.write(&["None: no body", "Open: body"], &[], &mut page).unwrap();
    send.write(&["Waiting"], &["Ended --> [*]: Sent"], &mut page).unwrap();
    page
}

#[test]
fn states_md_is_what_the_tables_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/states.md");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, page()).unwrap();
    }
    let written = fs::read_to_string(path).unwrap();
    assert!(written == page(), "docs/states.md is stale: UPDATE=1 cargo test -p hyperpull --lib states");
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Pull(usize),
    Chunk,
    End,
    Fail,
    Received(usize),
    Inform,
    Send(u64),
    Start(Option<u64>, bool),
    Upgrade,
    Leave,
    Write(usize),
    Finish,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..5usize).prop_map(Step::Pull),
        2 => Just(Step::Chunk),
        1 => Just(Step::End),
        1 => Just(Step::Fail),
        3 => (0..5usize).prop_map(Step::Received),
        1 => Just(Step::Inform),
        1 => (0..5u64).prop_map(Step::Send),
        2 => (prop::option::of(0..8u64), prop::bool::weighted(0.2)).prop_map(|(declared, bodiless)| Step::Start(declared, bodiless)),
        1 => Just(Step::Upgrade),
        1 => Just(Step::Leave),
        5 => (0..5usize).prop_map(Step::Write),
        1 => Just(Step::Finish),
    ]
}

/// What has been promised so far, kept without states.
#[derive(Default, Debug)]
struct Account {
    /// How many answers were taken, and what they said.
    answers: usize,
    declared: Option<u64>,
    bodiless: bool,
    /// Bytes of the answer that were taken.
    written: u64,
    finished: bool,
    tunnel: bool,
    /// Pulls that were taken, and answers to them.
    pulls: usize,
    pulled: usize,
    /// All of the body has been given, or it has failed.
    body_over: bool,
    received: u64,
}

/// The most bytes of a body.
const LIMIT: u64 = 6;

impl Account {
    /// Does a step, if it can happen; whether the exchange took it.
    fn take(&mut self, step: Step, exchange: &mut Exchange) -> Result<(), Error> {
        let (pulling, receiving) = (self.pulls > self.pulled, !self.body_over);
        match step {
            Step::Pull(most) => {
                exchange.pull(most)?;
                assert!(!pulling && receiving, "one waits, as long as something may come");
                assert_eq!(exchange.pulling(), Some(most.max(1)));
                self.pulls += 1;
            }
            Step::Chunk if pulling => {
                exchange.pulled(1);
                self.pulled += 1;
            }
            Step::End | Step::Fail if receiving => {
                if matches!(step, Step::End) {
                    exchange.body_ended()
                } else {
                    exchange.body_failed()
                }
                (self.pulled, self.body_over) = (self.pulls, true);
            }
            Step::Received(bytes) if receiving => {
                self.received += bytes as u64;
                let fits = self.tunnel || self.received <= LIMIT;
                assert_eq!(exchange.received(bytes, LIMIT).is_ok(), fits);
            }
            Step::Inform => exchange.check_waiting().inspect(|()| assert_eq!(self.answers, 0))?,
            Step::Send(bytes) => {
                exchange.check_waiting()?;
                exchange.sent_whole(bytes);
                (self.answers, self.written, self.finished) = (self.answers + 1, bytes, true);
            }
            Step::Start(declared, bodiless) => {
                exchange.check_waiting()?;
                exchange.started(declared, bodiless);
                (self.answers, self.declared, self.bodiless) = (self.answers + 1, declared, bodiless);
            }
            // The engines see to it that a body is read before HTTP is left.
            Step::Upgrade if self.received == 0 && exchange.receive == Receive::None => {
                exchange.check_waiting()?;
                exchange.upgrading();
                self.answers += 1;
            }
            Step::Leave if exchange.send == Send::Upgrading => {
                exchange.upgraded();
                (self.tunnel, self.body_over) = (true, false);
            }
            Step::Write(bytes) => {
                let write = exchange.write(bytes)?;
                assert_eq!(write == Write::Drop, self.bodiless);
                self.written += if self.bodiless { 0 } else { bytes as u64 };
            }
            Step::Finish => {
                exchange.finish()?;
                self.finished = true;
                assert!(self.bodiless || self.declared.is_none_or(|declared| declared == self.written));
            }
            _ => {}
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn an_exchange_keeps_its_promises_whatever_happens(has_body: bool, steps in prop::collection::vec(step(), 0..60)) {
        let mut exchange = Exchange::new(has_body);
        let mut account = Account { body_over: !has_body, ..Account::default() };
        for step in steps {
            let before = format!("{exchange:?}");
            if account.take(step, &mut exchange).is_err() {
                prop_assert_eq!(format!("{exchange:?}"), before, "an error changes nothing");
            }
            prop_assert!(account.answers <= 1, "an answer is given once");
            prop_assert!(account.declared.is_none_or(|declared| account.written <= declared));
            prop_assert_eq!(exchange.ended(), account.finished.then_some(account.written));
            prop_assert_eq!(exchange.pulling().is_some(), account.pulls > account.pulled);
            prop_assert_eq!(exchange.receiving(), !account.body_over);
            prop_assert_eq!(exchange.streaming(), (account.answers == 1 && !account.finished) && exchange.send != Send::Upgrading);
        }
    }
}

#[test]
fn a_declared_length_is_held() {
    let code = |result: Result<(), Error>| result.err().map(|error| error.code());
    let mut exchange = Exchange::new(false);
    exchange.started(Some(3), false);
    assert_eq!(exchange.write(2).ok(), Some(Write::Queue));
    assert_eq!(code(exchange.finish()), Some(Code::BodyLengthMismatch));
    assert_eq!(code(exchange.write(2).map(drop)), Some(Code::BodyLengthMismatch));
    assert!(exchange.write(1).is_ok() && exchange.finish().is_ok());

    let mut head = Exchange::new(false);
    head.started(Some(3), true);
    assert_eq!(head.write(9).ok(), Some(Write::Drop));
    assert!(head.finish().is_ok());
    assert_eq!(head.ended(), Some(0));
}
