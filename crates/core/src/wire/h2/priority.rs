//! Whose answer goes out first (RFC 9218): the more urgent, and among those of one urgency the incremental ones by turns.

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    H2,
    frame::{Head, MAX_31, Reason, number},
    receive::{Broken, broken},
};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Priority {
    /// 0 (first) to 7.
    pub(super) urgency: u8,
    /// A part of it is of use before the rest.
    pub(super) incremental: bool,
}

/// RFC 9218 section 4.
impl Default for Priority {
    fn default() -> Self {
        Self { urgency: 3, incremental: false }
    }
}

impl Priority {
    /// What the values of a field say together: a dictionary (RFC 8941 section 3.2) of which two keys are known.
    pub(super) fn of<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut priority = Self::default();
        for member in values.into_iter().flat_map(|value| value.split(|&byte| byte == b',')) {
            // Without its parameters.
            match member.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii() {
                [b'u', b'=', urgency @ b'0'..=b'7'] => priority.urgency = urgency - b'0',
                b"i" | b"i=?1" => priority.incremental = true,
                b"i=?0" => priority.incremental = false,
                _ => {}
            }
        }
        priority
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> H2<IO> {
    /// PRIORITY_UPDATE (RFC 9218 section 7.1), which may come before its request.
    pub(super) fn priority_update(&mut self, head: Head, payload: &[u8]) -> Result<(), Broken> {
        if head.stream != 0 {
            return broken(Reason::ProtocolError, "PRIORITY_UPDATE on a stream");
        }
        let Some((id, field)) = payload.split_at_checked(4) else {
            return broken(Reason::FrameSizeError, "PRIORITY_UPDATE names no stream");
        };
        let (id, priority) = (number(id) & MAX_31, Priority::of([field]));
        if id.is_multiple_of(2) {
            return broken(Reason::ProtocolError, "PRIORITY_UPDATE of a stream that no client opens");
        }
        if let Some(stream) = self.streams.get_mut(id) {
            stream.priority = priority;
            self.prioritized |= priority != Priority::default();
        } else if id > self.highest {
            self.foretold.retain(|&(other, _)| other != id);
            self.foretold.push((id, priority));
            if self.foretold.len() + self.streams.len() > self.config.limits.concurrent_streams as usize {
                if self.heard {
                    return broken(Reason::ProtocolError, "PRIORITY_UPDATE of more streams than there may be");
                }
                // The peer does not know yet how many there may be.
                self.foretold.pop();
            }
        }
        Ok(())
    }

    /// What was said of a stream before it was opened, in place of what its head says.
    pub(super) fn foretold(&mut self, id: u32) -> Option<Priority> {
        if self.foretold.is_empty() {
            return None;
        }
        let priority = self.foretold.iter().find(|(other, _)| *other == id).map(|&(_, priority)| priority);
        // Those below it will not be opened any more (RFC 9113 section 5.1.1).
        self.foretold.retain(|&(other, _)| other > id);
        priority
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_field_says() {
        let of = |field: &str| {
            let Priority { urgency, incremental } = Priority::of([field.as_bytes()]);
            (urgency, incremental)
        };
        assert_eq!([of(""), of("x"), of("u=9"), of("u=12"), of("u"), of("i=1")], [(3, false); 6]);
        assert_eq!([of("u=0"), of("u=7;a,\ti=?0"), of("u=2;a")], [(0, false), (7, false), (2, false)]);
        assert_eq!([of("i, u=5"), of("i=?1;b=2 ,u=0"), of("u=1,i,x=\"y\"")], [(5, true), (0, true), (1, true)]);
        // The last of two counts.
        assert_eq!(of("u=1, i, u=6, i=?0"), (6, false));
    }
}
