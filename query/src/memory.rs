//! The memory of one query inside the memory of all: a pool within a pool.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use datafusion::error::Result;
use datafusion::execution::memory_pool::{
    MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};

/// Which bound refused memory last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// None did.
    Nobody,
    /// The query's own.
    Query,
    /// That of all queries.
    Total,
}

/// Grants what both the query's own pool and the pool of all queries grant.
#[derive(Debug)]
pub(crate) struct NestedPool {
    own: Arc<dyn MemoryPool>,
    all: Arc<dyn MemoryPool>,
    refused: AtomicU8,
}

impl NestedPool {
    /// A pool for one query.
    pub(crate) fn new(own: Arc<dyn MemoryPool>, all: Arc<dyn MemoryPool>) -> Self {
        NestedPool {
            own,
            all,
            refused: AtomicU8::new(0),
        }
    }

    /// Which bound refused memory last.
    pub(crate) fn refused(&self) -> Refused {
        match self.refused.load(Ordering::Relaxed) {
            0 => Refused::Nobody,
            1 => Refused::Query,
            _ => Refused::Total,
        }
    }
}

impl fmt::Display for NestedPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} within {}", self.own, self.all)
    }
}

impl MemoryPool for NestedPool {
    fn name(&self) -> &str {
        "query"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.own.register(consumer);
        self.all.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.own.unregister(consumer);
        self.all.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.own.grow(reservation, additional);
        self.all.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.own.shrink(reservation, shrink);
        self.all.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.own
            .try_grow(reservation, additional)
            .inspect_err(|_| self.refused.store(1, Ordering::Relaxed))?;
        self.all.try_grow(reservation, additional).inspect_err(|_| {
            self.own.shrink(reservation, additional);
            self.refused.store(2, Ordering::Relaxed);
        })
    }

    fn reserved(&self) -> usize {
        self.own.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.own.memory_limit()
    }
}
