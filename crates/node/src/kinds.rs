//! The numbers of the record layout (`docs/crossing.md`), each named here and nowhere else.

/// Words of one event record.
pub const EVENT_WORDS: usize = 12;
/// Words of one command record.
pub const COMMAND_WORDS: usize = 8;
/// In the place of a length: the bytes are the next entry of the batch's blobs.
pub const BLOB: u32 = u32::MAX;
/// Chunks and bodies over this do not travel in the shared memory. The engine keeps larger bodies apart anyway.
pub const INLINE_BYTES: usize = 16 << 10;

macro_rules! kinds {
    ($(#[$meta:meta])* $name:ident { $($variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum $name { $($variant,)* }

        impl $name {
            /// Every kind, in the order of its number. The first has number 1.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in the table.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The number in word 0.
            pub const fn number(self) -> u32 {
                self as u32 + 1
            }

            /// The kind of a number from word 0.
            pub fn from_number(number: u32) -> Option<Self> {
                Self::ALL.get((number as usize).checked_sub(1)?).copied()
            }
        }
    };
}

kinds! {
    /// What comes up to JavaScript.
    EventKind {
        Connection = "connection",
        Request = "request",
        Chunk = "chunk",
        End = "end",
        BodyFailed = "body-failed",
        Written = "written",
        Sent = "sent",
        Failed = "failed",
        Upgraded = "upgraded",
        Rejected = "rejected",
        Closed = "closed",
        Stopped = "stopped",
    }
}

kinds! {
    /// What goes down from JavaScript.
    CommandKind {
        Send = "send",
        Start = "start",
        Write = "write",
        Finish = "finish",
        Inform = "inform",
        Upgrade = "upgrade",
        Reset = "reset",
        PullRequests = "pull-requests",
        Drain = "drain",
        Close = "close",
        Release = "release",
        PullConnections = "pull-connections",
        DrainAll = "drain-all",
        CloseAll = "close-all",
        Prepare = "prepare",
        ReadOn = "read-on",
    }
}

/// Flags of a request event, word 8 from bit 16 on.
pub mod request_flags {
    /// There is a body.
    pub const BODY: u32 = 1;
    /// The whole body follows the head text.
    pub const COMPLETE: u32 = 2;
    /// The scheme is https.
    pub const HTTPS: u32 = 4;
    /// The request can leave HTTP.
    pub const UPGRADE: u32 = 8;
}

/// Words of the first command record, which is the queue's own.
pub mod queue {
    /// How many records follow.
    pub const RECORDS: usize = 0;
    /// How many bytes belong to them.
    pub const BYTES: usize = 1;
    /// 1: a flush is arranged.
    pub const ARRANGED: usize = 2;
}

/// Flags of a command, word 0 from bit 8 on.
pub mod command_flags {
    /// `aux` is the number of a prepared head.
    pub const PREPARED: u32 = 1;
    /// The head is a trailer section, and there is one.
    pub const TRAILERS: u32 = 2;
    /// The reader has taken all that it was given, and waits.
    pub const WAITS: u32 = 4;
    /// The I/O thread need not be woken for it.
    pub const QUIET: u32 = 8;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_kinds_belong_together() {
        assert_eq!(EventKind::Connection.number(), 1);
        assert_eq!(EventKind::Stopped.number(), 12);
        assert_eq!(CommandKind::ReadOn.number(), 16);
        for &kind in CommandKind::ALL {
            assert_eq!(CommandKind::from_number(kind.number()), Some(kind));
        }
        assert_eq!(CommandKind::from_number(0), None);
        assert_eq!(CommandKind::from_number(17), None);
    }
}
