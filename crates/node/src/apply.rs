//! Commands are applied: each calls one method of one engine, or changes the loop.
//!
//! Hot: once per command. The connections concerned are turned later in the round, each once.

use std::time::Instant;

use hyperpull::{engine::ResetReason, error::Error};

use crate::{
    connection::Connection,
    fault,
    heads::Heads,
    io_loop::IoLoop,
    kinds::{CommandKind, command_flags},
    submit::{Command, Commands, Submission},
};

/// The most bytes of one chunk of a request's body or a tunnel.
const CHUNK_BYTES: usize = 128 << 10;

impl IoLoop {
    /// Applies all commands of a submission, in order.
    pub fn apply(&mut self, submission: Submission) {
        let told_at = submission.quiet_since.unwrap_or(self.now);
        for command in Commands::of(&submission) {
            match command.kind {
                CommandKind::PullConnections => self.want_connections(command.aux),
                CommandKind::DrainAll => self.end_all(|connection| connection.engine.drain()),
                CommandKind::CloseAll => self.end_all(|connection| connection.engine.close()),
                CommandKind::Prepare => self.heads.prepare(&command),
                CommandKind::Release => self.table.release(command.key.connection),
                _ => self.apply_to_connection(command, told_at),
            }
        }
    }

    fn apply_to_connection(&mut self, command: Command, told_at: Instant) {
        let (key, kind) = (command.key, command.kind);
        // A connection that is over has said so already, in events that JavaScript has yet to take.
        self.with_connection(key.connection, |this, connection| {
            if let Err(error) = run(connection, &mut this.heads, command, told_at) {
                this.outbox.rejected(key, kind, &error);
            }
            None
        });
        self.touch(key.connection);
    }

    fn end_all(&mut self, end: impl Fn(&mut Connection)) {
        self.stop_accepting();
        for number in self.table.live() {
            self.with_connection(number, |_, connection| {
                end(connection);
                None
            });
            self.touch(number);
        }
    }
}

/// Applies a command to its connection.
fn run(connection: &mut Connection, heads: &mut Heads, command: Command, now: Instant) -> Result<(), Error> {
    fault::point("command");
    let key = command.key;
    match command.kind {
        CommandKind::Send => {
            let head = heads.head(&command)?;
            connection.engine.send(key, head, command.body, None, now)
        }
        CommandKind::Start => {
            let head = heads.head(&command)?;
            connection.engine.start(key, head, now)
        }
        CommandKind::Write => connection.engine.write(key, command.body),
        CommandKind::Finish => {
            let trailers = if command.flags & command_flags::TRAILERS != 0 {
                Some(heads.fields(&command)?.into_map())
            } else {
                None
            };
            connection.engine.finish(key, trailers)
        }
        CommandKind::Inform => {
            let head = heads.head(&command)?;
            connection.engine.inform(key, head.status, head.headers)
        }
        CommandKind::Upgrade => {
            let head = heads.head(&command)?;
            connection.engine.upgrade(key, head, now)
        }
        CommandKind::Reset => {
            connection.engine.reset(key.stream, reset_reason(command.aux));
            Ok(())
        }
        CommandKind::PullRequests => {
            connection.grant(command.aux);
            Ok(())
        }
        CommandKind::ReadOn => {
            let waits = (command.flags & command_flags::WAITS != 0).then_some(now);
            connection.engine.read_on(key, CHUNK_BYTES, command.aux as usize, waits);
            Ok(())
        }
        CommandKind::Drain => {
            connection.engine.drain();
            Ok(())
        }
        CommandKind::Close => {
            connection.engine.close();
            Ok(())
        }
        // Not about a connection, or about one that is over.
        CommandKind::Release
        | CommandKind::PullConnections
        | CommandKind::DrainAll
        | CommandKind::CloseAll
        | CommandKind::Prepare => Ok(()),
    }
}

fn reset_reason(number: u32) -> ResetReason {
    match number {
        1 => ResetReason::Refused,
        2 => ResetReason::Internal,
        3 => ResetReason::EnhanceYourCalm,
        _ => ResetReason::Cancel,
    }
}
