//! The two tables that fields are looked up in (RFC 7541 section 2.3), and what stands in them.

use std::collections::VecDeque;

/// What a field costs beside its name and value (RFC 7541 section 4.1).
pub(super) const OVERHEAD: usize = 32;

macro_rules! static_table {
    ($($name:literal = $value:literal,)*) => {
        /// The static table (RFC 7541 appendix A), from index 1 on: `name NUL value NUL`, and the length of the name.
        pub(super) static STATIC: [(&[u8], usize); 61] =
            [$((concat!($name, "\0", $value, "\0").as_bytes(), $name.len()),)*];
    };
}

static_table! {
    ":authority" = "",
    ":method" = "GET",
    ":method" = "POST",
    ":path" = "/",
    ":path" = "/index.html",
    ":scheme" = "http",
    ":scheme" = "https",
    ":status" = "200",
    ":status" = "204",
    ":status" = "206",
    ":status" = "304",
    ":status" = "400",
    ":status" = "404",
    ":status" = "500",
    "accept-charset" = "",
    "accept-encoding" = "gzip, deflate",
    "accept-language" = "",
    "accept-ranges" = "",
    "accept" = "",
    "access-control-allow-origin" = "",
    "age" = "",
    "allow" = "",
    "authorization" = "",
    "cache-control" = "",
    "content-disposition" = "",
    "content-encoding" = "",
    "content-language" = "",
    "content-length" = "",
    "content-location" = "",
    "content-range" = "",
    "content-type" = "",
    "cookie" = "",
    "date" = "",
    "etag" = "",
    "expect" = "",
    "expires" = "",
    "from" = "",
    "host" = "",
    "if-match" = "",
    "if-modified-since" = "",
    "if-none-match" = "",
    "if-range" = "",
    "if-unmodified-since" = "",
    "last-modified" = "",
    "link" = "",
    "location" = "",
    "max-forwards" = "",
    "proxy-authenticate" = "",
    "proxy-authorization" = "",
    "range" = "",
    "referer" = "",
    "refresh" = "",
    "retry-after" = "",
    "server" = "",
    "set-cookie" = "",
    "strict-transport-security" = "",
    "transfer-encoding" = "",
    "user-agent" = "",
    "vary" = "",
    "via" = "",
    "www-authenticate" = "",
}

/// The index of a name in the static table.
pub(super) fn static_name(name: &[u8]) -> Option<usize> {
    STATIC.iter().position(|&(text, length)| length == name.len() && text.starts_with(name)).map(|place| place + 1)
}

/// The dynamic table of one direction, newest first: it begins at index 62.
#[derive(Debug)]
pub(super) struct Dynamic<E> {
    entries: VecDeque<(usize, E)>,
    bytes: usize,
    most: usize,
}

impl<E> Dynamic<E> {
    /// The index of the newest entry.
    pub(super) const FIRST: usize = STATIC.len() + 1;

    pub(super) fn new(most: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, most }
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The most that it holds, in bytes.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    pub(super) fn resize(&mut self, most: usize) {
        self.most = most;
        self.make_room(0);
    }

    /// By age: 0 is the newest.
    pub(super) fn get(&self, age: usize) -> Option<&E> {
        self.entries.get(age).map(|(_, entry)| entry)
    }

    /// Newest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &E> {
        self.entries.iter().map(|(_, entry)| entry)
    }

    /// Adds what `make` makes, of `bytes` bytes, and lets the oldest go for it. What is larger than the table empties it
    /// (RFC 7541 section 4.4).
    pub(super) fn insert(&mut self, bytes: usize, make: impl FnOnce() -> E) {
        self.make_room(bytes);
        if bytes <= self.most {
            self.bytes += bytes;
            self.entries.push_front((bytes, make()));
        }
    }

    fn make_room(&mut self, bytes: usize) {
        while self.bytes + bytes > self.most
            && let Some((oldest, _)) = self.entries.pop_back()
        {
            self.bytes -= oldest;
        }
    }
}
