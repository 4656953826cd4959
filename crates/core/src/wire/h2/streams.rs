//! The open streams of a connection, by identifier.

use super::stream::Stream;
use crate::{by_id::ById, io::room::Pool};

/// The place of a stream in memory, large enough to be used again.
pub(super) type Place = Box<Option<Stream>>;

thread_local! {
    static PLACES: Pool<Place> = const { Pool::new(128) };
}

#[derive(Default)]
pub(super) struct Streams(ById<Place>);

impl Streams {
    /// An empty place for the next stream.
    pub(super) fn place() -> Place {
        Pool::take(&PLACES).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Stream> {
        self.0.get_mut(&id)?.as_mut().as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Stream> {
        self.0.values().filter_map(|place| place.as_ref().as_ref())
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.0.values_mut().filter_map(|place| place.as_mut().as_mut())
    }

    pub(super) fn insert(&mut self, id: u32, place: Place) {
        self.0.insert(id, place);
    }

    /// Drops a stream.
    pub(super) fn remove(&mut self, id: u32) {
        if let Some(mut place) = self.0.remove(&id) {
            *place = None;
            Pool::give(&PLACES, place);
        }
    }
}
