//! The connections of one I/O loop by number.

use crate::connection::Connection;

/// free -> live -> free, when JavaScript has never heard of the connection, or
/// free -> live -> closed -> free, once JavaScript has let go of the number.
enum Slot {
    Free,
    Live(Box<Connection>),
    /// Live, and taken out for a turn.
    Turning,
    Closed,
}

/// The connections by number. A number is used again only after it has been released.
#[derive(Default)]
pub struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Table {
    /// The number that the next connection to `enter` has.
    pub fn next(&self) -> u32 {
        self.free.last().copied().unwrap_or(self.slots.len() as u32)
    }

    /// Enters a connection, under the `next` number.
    pub fn enter(&mut self, connection: Box<Connection>) {
        match self.free.pop() {
            Some(number) => self.put(number, connection),
            None => self.slots.push(Slot::Live(connection)),
        }
    }

    fn set(&mut self, number: u32, to: Slot) {
        if let Some(slot) = self.slots.get_mut(number as usize) {
            *slot = to;
        }
    }

    /// Brings a connection back from its turn.
    pub fn put(&mut self, number: u32, connection: Box<Connection>) {
        self.set(number, Slot::Live(connection));
    }

    /// Takes a live connection out for a turn.
    pub fn take(&mut self, number: u32) -> Option<Box<Connection>> {
        let slot = self.slots.get_mut(number as usize)?;
        match std::mem::replace(slot, Slot::Turning) {
            Slot::Live(connection) => Some(connection),
            other => {
                *slot = other;
                None
            }
        }
    }

    /// A live connection.
    pub fn get(&mut self, number: u32) -> Option<&mut Connection> {
        match self.slots.get_mut(number as usize) {
            Some(Slot::Live(connection)) => Some(connection),
            _ => None,
        }
    }

    /// The connection is over. Its number stays taken if it is `known` to JavaScript.
    pub fn close(&mut self, number: u32, known: bool) {
        self.set(number, Slot::Closed);
        if !known {
            self.release(number);
        }
    }

    /// JavaScript has let go of a closed connection's number.
    pub fn release(&mut self, number: u32) {
        if let Some(slot @ Slot::Closed) = self.slots.get_mut(number as usize) {
            *slot = Slot::Free;
            self.free.push(number);
        }
    }

    /// No number is taken.
    pub fn is_empty(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    /// The numbers of the live connections.
    pub fn live(&self) -> Vec<u32> {
        self.slots
            .iter()
            .zip(0..)
            .filter_map(|(slot, number)| matches!(slot, Slot::Live(_)).then_some(number))
            .collect()
    }
}
