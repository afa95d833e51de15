//! The elements of an array, read where they stand. In batches the kernel copies each element by itself, which takes
//! half a second for the places of a million bans.

extern crate std;

use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ops::Range;
use core::ptr::{self, NonNull};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};

use aya::Pod;
use aya::maps::{MapData, MapError, MapType};

use crate::place::MMAPABLE;

/// An array of the kernel, or a part of one, in this process' memory, to be read only. What is written to the array is
/// seen at once, a word of eight bytes at a time.
#[derive(Debug)]
pub struct Mapped<V> {
    /// Where whole pages are mapped, and how many bytes.
    pages: NonNull<libc::c_void>,
    length: usize,
    /// Where the first of the elements begins.
    start: NonNull<u64>,
    elements: Range<u32>,
    types: PhantomData<V>,
}

impl<V> Mapped<V> {
    /// Words of an element.
    const WORDS: usize = size_of::<V>() / size_of::<u64>();
}

impl<V: Pod> Mapped<V> {
    /// Maps an array whose values have the size of `V`.
    ///
    /// # Errors
    ///
    /// When they have another size, or one that is not a number of whole words, or the map is not an array that was made
    /// with `BPF_F_MMAPABLE`, or the system refuses.
    pub fn new(map: &MapData) -> io::Result<Self> {
        Self::some(map, 0, u32::MAX)
    }

    /// The same of `count` elements from `first` on, fewer only behind the last.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new), and when there are none.
    pub fn some(map: &MapData, first: u32, count: u32) -> io::Result<Self> {
        let info = map.info().map_err(other)?;
        let kind = info.map_type().map_err(other)?;
        let value_size = info.value_size() as usize;
        // Elements stand a whole number of words apart. Where the values end sooner, so would the last one here.
        let fits = kind == MapType::Array
            && info.map_flags() & MMAPABLE != 0
            && value_size == size_of::<V>()
            && value_size == Self::WORDS * size_of::<u64>();
        if !fits {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                std::format!(
                    "a map of {kind:?} with values of {value_size} bytes and flags {:#x} cannot be read as an array of \
                     {} bytes each where it stands",
                    info.map_flags(),
                    size_of::<V>()
                ),
            ));
        }
        let elements = first..first.saturating_add(count).min(info.max_entries());
        if elements.is_empty() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let byte = |index: u32| size_of::<V>().checked_mul(index as usize);
        let begin = byte(elements.start).ok_or(io::ErrorKind::OutOfMemory)?;
        let end = byte(elements.end).ok_or(io::ErrorKind::OutOfMemory)?;
        // A page is mapped whole or not at all.
        let before = begin % page_size();
        let length = end - (begin - before);
        let offset = libc::off_t::try_from(begin - before).map_err(io::Error::other)?;
        // SAFETY: a new mapping, where the system finds room, takes nothing from anybody.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ,
                libc::MAP_SHARED,
                map.fd().as_fd().as_raw_fd(),
                offset,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let pages = NonNull::new(start).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self {
            pages,
            length,
            // SAFETY: less than a page lies before the first element, and the elements lie behind it.
            start: unsafe { pages.byte_add(before) }.cast(),
            elements,
            types: PhantomData,
        })
    }

    /// One element; `None` when it is none of these.
    #[must_use]
    pub fn get(&self, index: u32) -> Option<V> {
        let is_here = self.elements.contains(&index);
        is_here.then(|| self.copy(index, self.word(index, 0)))
    }

    /// Every element with its index, in order.
    pub fn all(&self) -> impl Iterator<Item = (u32, V)> {
        let elements = self.elements.clone();
        elements.map(|index| (index, self.copy(index, self.word(index, 0))))
    }

    /// The elements whose first word is not zero, each with its index, in order.
    pub fn begun(&self) -> impl Iterator<Item = (u32, V)> {
        self.elements.clone().filter_map(|index| {
            let first = self.word(index, 0);
            (first != 0).then(|| (index, self.copy(index, first)))
        })
    }

    /// An element whose first word has been read: the others are read after it.
    fn copy(&self, index: u32, first: u64) -> V {
        let mut copy = MaybeUninit::<V>::uninit();
        let to = copy.as_mut_ptr().cast::<u64>();
        for number in 0..Self::WORDS {
            let word = match number {
                0 => first,
                _ => self.word(index, number),
            };
            // SAFETY: a `V` has so many words, though it may begin at any address.
            unsafe { to.add(number).write_unaligned(word) };
        }
        // SAFETY: `new` has found that words are all there is of a `V`, and any bytes are a `Pod`.
        unsafe { copy.assume_init() }
    }

    fn word(&self, index: u32, number: usize) -> u64 {
        assert!(
            self.elements.contains(&index) && number < Self::WORDS,
            "none of these"
        );
        let index = (index - self.elements.start) as usize;
        // SAFETY: of `elements` with `WORDS` words each, all are mapped until the drop, and they begin a whole number of
        // words behind a page. The kernel and other processes write them meanwhile, hence the one load that is not left
        // out.
        unsafe {
            let word = self.start.as_ptr().add(index * Self::WORDS + number);
            word.read_volatile()
        }
    }
}

impl<V> Drop for Mapped<V> {
    fn drop(&mut self) {
        // SAFETY: so much was mapped there, and no reference leads into it. It does not fail for a mapping that is there.
        unsafe { libc::munmap(self.pages.as_ptr(), self.length) };
    }
}

fn page_size() -> usize {
    // SAFETY: it only looks something up.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    // There is always one; with a byte nothing is mapped that does not begin at a page, and the system says so.
    usize::try_from(size).unwrap_or(1)
}

fn other(error: MapError) -> io::Error {
    io::Error::other(error)
}
