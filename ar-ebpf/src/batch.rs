//! Many entries of a map in one call of bpf(2), which aya does not offer: reading or writing a million
//! entries one by one costs a second or more in calls alone.

extern crate std;

use core::marker::PhantomData;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::vec::Vec;

use aya::Pod;
use aya::maps::{MapData, MapError, MapType};

/// Entries that one call reads or writes at most.
const PER_CALL: u32 = 8192;

/// `BPF_MAP_LOOKUP_BATCH` and `BPF_MAP_UPDATE_BATCH` (linux/bpf.h).
const LOOKUP: libc::c_int = 24;
const UPDATE: libc::c_int = 26;

/// The part of `union bpf_attr` (linux/bpf.h) that these two read and write.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

const _: () = assert!(size_of::<Attributes>() == 56);

/// Where a read goes on: the number of a bucket, or an array's key.
type Place = [u32; 4];

/// A map whose entries are read or written many at a time.
pub struct Batch<'a, K, V> {
    map: &'a MapData,
    types: PhantomData<(K, V)>,
}

impl<'a, K: Pod, V: Pod> Batch<'a, K, V> {
    /// Looks whether the map has such keys and values.
    ///
    /// # Errors
    ///
    /// When they have other sizes, or the map is neither a hash nor an array: others lay out their values in
    /// another way, or do not take batches.
    pub fn new(map: &'a MapData) -> io::Result<Self> {
        let info = map.info().map_err(other)?;
        let kind = info.map_type().map_err(other)?;
        let fits = info.key_size() as usize == size_of::<K>()
            && info.value_size() as usize == size_of::<V>()
            && matches!(kind, MapType::Hash | MapType::Array);
        if !fits {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                std::format!(
                    "a map of {kind:?} with keys of {} and values of {} bytes cannot be read in batches",
                    info.key_size(),
                    info.value_size()
                ),
            ));
        }
        Ok(Self {
            map,
            types: PhantomData,
        })
    }

    /// Hands out every entry, in no order that means anything. One that is written or removed meanwhile may be
    /// there or not.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn read(&self, mut each: impl FnMut(K, V)) -> io::Result<()> {
        let mut room = PER_CALL;
        let mut place: Option<Place> = None;
        loop {
            let mut keys: Vec<K> = Vec::with_capacity(room as usize);
            let mut values: Vec<V> = Vec::with_capacity(room as usize);
            let mut next = Place::default();
            let mut attributes = Attributes {
                in_batch: place.as_ref().map_or(0, |place| bytes(place.as_ptr())),
                out_batch: bytes(next.as_mut_ptr()),
                keys: bytes(keys.as_mut_ptr()),
                values: bytes(values.as_mut_ptr()),
                count: room,
                map_fd: self.fd(),
                ..Attributes::default()
            };
            // SAFETY: both buffers have room for `count` entries of the sizes that `new` has compared with the
            // map's, and `next` for what the kernel writes there: a `u32` of a hash, a key of an array.
            let called = unsafe { call(LOOKUP, &mut attributes) };
            let is_last = match called {
                Ok(()) => false,
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
                // More entries in one bucket than there is room for: nothing was read.
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                    room = room.saturating_mul(2);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let count = attributes.count.min(room) as usize;
            // SAFETY: the kernel has written that many of each, and any bytes are a `Pod`.
            unsafe {
                keys.set_len(count);
                values.set_len(count);
            }
            for (key, value) in keys.into_iter().zip(values) {
                each(key, value);
            }
            if is_last {
                return Ok(());
            }
            place = Some(next);
        }
    }

    /// Those of an array's elements from `first` on, `count` of them at most; fewer only behind the last.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    ///
    /// # Panics
    ///
    /// When keys are not those of an array.
    pub fn read_some(&self, first: u32, count: u32) -> io::Result<Vec<V>> {
        assert_eq!(size_of::<K>(), size_of::<u32>(), "an array has such keys");
        let mut keys: Vec<K> = Vec::with_capacity(count as usize);
        let mut values: Vec<V> = Vec::with_capacity(count as usize);
        // The kernel goes on behind the key that it is handed.
        let before = first.checked_sub(1);
        let mut next = Place::default();
        let mut attributes = Attributes {
            in_batch: before.as_ref().map_or(0, |before| bytes(before)),
            out_batch: bytes(next.as_mut_ptr()),
            keys: bytes(keys.as_mut_ptr()),
            values: bytes(values.as_mut_ptr()),
            count,
            map_fd: self.fd(),
            ..Attributes::default()
        };
        // SAFETY: as in `read`; a key of the map is a `u32`, like `before`.
        let called = unsafe { call(LOOKUP, &mut attributes) };
        match called {
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => return Err(error),
            _ => {}
        }
        // SAFETY: as in `read`.
        unsafe { values.set_len(attributes.count.min(count) as usize) };
        Ok(values)
    }

    /// Writes entries, whether they were there or not, and says how many; what stopped it is the error.
    ///
    /// # Panics
    ///
    /// When there are not as many values as keys.
    pub fn write(&self, keys: &[K], values: &[V]) -> (usize, io::Result<()>) {
        assert_eq!(keys.len(), values.len(), "one value for each key");
        let mut written = 0;
        for (keys, values) in keys
            .chunks(PER_CALL as usize)
            .zip(values.chunks(PER_CALL as usize))
        {
            let mut attributes = Attributes {
                keys: bytes(keys.as_ptr()),
                values: bytes(values.as_ptr()),
                // At most `PER_CALL`.
                count: u32::try_from(keys.len()).unwrap_or(0),
                map_fd: self.fd(),
                ..Attributes::default()
            };
            // SAFETY: both slices hold `count` entries of the sizes that `new` has compared with the map's, and the
            // kernel only reads them.
            let called = unsafe { call(UPDATE, &mut attributes) };
            if let Err(error) = called {
                // Where the call failed before it began, the count is still what was asked for.
                let count = attributes.count as usize;
                written += if count < keys.len() { count } else { 0 };
                return (written, Err(error));
            }
            written += keys.len();
        }
        (written, Ok(()))
    }

    fn fd(&self) -> u32 {
        // An open descriptor is never negative.
        self.map.fd().as_fd().as_raw_fd().cast_unsigned()
    }
}

/// An address as the kernel takes it.
fn bytes<T>(start: *const T) -> u64 {
    start.expose_provenance() as u64
}

fn other(error: MapError) -> io::Error {
    io::Error::other(error)
}

/// # Safety
///
/// The addresses in `attributes` lead to as much as the command reads and writes there.
unsafe fn call(command: libc::c_int, attributes: &mut Attributes) -> io::Result<()> {
    // SAFETY: the kernel is told the size, and the caller answers for the addresses.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            core::ptr::from_mut(attributes),
            size_of::<Attributes>(),
        )
    };
    match result {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
