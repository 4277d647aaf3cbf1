//! An array map that user space writes through a shared mapping: no system call for an entry.

use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use libbpf_rs::MapHandle;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::sys::SharedWords;
use crate::{Error, Result};

/// Bytes of a word.
const WORD_BYTES: usize = 8;
/// Bytes of a window: a multiple of every page size.
const WINDOW_BYTES: usize = 256 << 10;
/// The largest entry, in words.
const ENTRY_WORDS_MAX: usize = 8;

/// A large array of which often little is used. What is mapped counts as resident memory, read or not,
/// so each window of it is mapped when it is needed first.
pub(crate) struct WindowedArray<T> {
    name: &'static str,
    map: MapHandle,
    entries_max: u32,
    windows: Box<[OnceLock<MappedArray<T>>]>,
}

impl<T: FromBytes + IntoBytes + Immutable> WindowedArray<T> {
    /// Entries of a window, which begins a page whatever the size of pages is.
    const WINDOW_ENTRIES: u32 = (WINDOW_BYTES / size_of::<T>()) as u32;

    /// The array `map` of `entries_max` entries.
    pub fn new(name: &'static str, map: MapHandle, entries_max: u32) -> Self {
        let count = entries_max.div_ceil(Self::WINDOW_ENTRIES);
        let windows = (0..count).map(|_| OnceLock::new()).collect();
        Self { name, map, entries_max, windows }
    }

    /// The map itself.
    pub fn map(&self) -> &MapHandle {
        &self.map
    }

    /// Reads one entry.
    pub fn read(&self, index: u32) -> Result<T> {
        let (window, at) = self.window(index)?;
        window.read(at)
    }

    /// Writes one entry: see [`MappedArray::write`].
    pub fn write(&self, index: u32, value: &T) -> Result<()> {
        let (window, at) = self.window(index)?;
        window.write(at, value)
    }

    /// Writes entries that follow each other, which programs must not be able to reach yet.
    pub fn write_run(&self, first: u32, values: &[T]) -> Result<()> {
        (first..).zip(values).try_for_each(|(index, value)| self.write(index, value))
    }

    /// The window of an entry, mapped from now on, and the entry's index in it.
    fn window(&self, index: u32) -> Result<(&MappedArray<T>, u32)> {
        let at = index % Self::WINDOW_ENTRIES;
        let Some(window) = self.windows.get((index / Self::WINDOW_ENTRIES) as usize) else {
            return Err(out_of_range(self.name, index, self.entries_max));
        };
        if let Some(window) = window.get() {
            return Ok((window, at));
        }
        let first = index - at;
        let entries = Self::WINDOW_ENTRIES.min(self.entries_max - first);
        let array = MappedArray::part(self.name, self.map.as_fd(), first, entries)?;
        Ok((window.get_or_init(|| array), at))
    }
}

/// An array of `T`, whose size is a multiple of eight bytes.
pub(crate) struct MappedArray<T> {
    name: &'static str,
    words: SharedWords,
    entries_max: u32,
    entry: PhantomData<T>,
}

impl<T: FromBytes + IntoBytes + Immutable> MappedArray<T> {
    const ENTRY_WORDS: usize = size_of::<T>() / WORD_BYTES;

    /// Maps the array `map` of `entries_max` entries.
    pub fn new(name: &'static str, map: BorrowedFd<'_>, entries_max: u32) -> Result<Self> {
        Self::part(name, map, 0, entries_max)
    }

    /// Maps so many entries of the array from `first` on, which begins a page and becomes index 0.
    fn part(name: &'static str, map: BorrowedFd<'_>, first: u32, entries_max: u32) -> Result<Self> {
        const { assert!(size_of::<T>().is_multiple_of(WORD_BYTES)) };
        const { assert!(size_of::<T>() / WORD_BYTES <= ENTRY_WORDS_MAX) };
        let count = entries_max as usize * Self::ENTRY_WORDS;
        let first = first as usize * Self::ENTRY_WORDS;
        let words = SharedWords::map(map, first, count).map_err(|source| Error::Map {
            map: name,
            entry: format!("shared mapping of {entries_max} entries"),
            source: source.into(),
        })?;
        Ok(Self { name, words, entries_max, entry: PhantomData })
    }

    /// How many entries there are.
    pub fn entries_max(&self) -> u32 {
        self.entries_max
    }

    fn entry_words(&self, index: u32) -> Result<std::ops::Range<usize>> {
        if index >= self.entries_max {
            return Err(out_of_range(self.name, index, self.entries_max));
        }
        let first = index as usize * Self::ENTRY_WORDS;
        Ok(first..first + Self::ENTRY_WORDS)
    }

    /// Reads one entry.
    pub fn read(&self, index: u32) -> Result<T> {
        let mut bytes = [0u8; WORD_BYTES * ENTRY_WORDS_MAX];
        for (chunk, word) in
            bytes.chunks_exact_mut(WORD_BYTES).zip(&self.words.words()[self.entry_words(index)?])
        {
            chunk.copy_from_slice(&word.load(Ordering::Acquire).to_ne_bytes());
        }
        let value = T::read_from_prefix(&bytes).map(|(value, _)| value);
        value.map_err(|_| out_of_range(self.name, index, self.entries_max))
    }

    /// Writes one entry, word by word. Programs must not be able to reach it yet, or the entry must
    /// be of one word, which is stored atomically.
    pub fn write(&self, index: u32, value: &T) -> Result<()> {
        let words = &self.words.words()[self.entry_words(index)?];
        for (chunk, word) in value.as_bytes().chunks_exact(WORD_BYTES).zip(words) {
            word.store(word_of(chunk), Ordering::Release);
        }
        Ok(())
    }

    /// Writes entries that follow each other, which programs must not be able to reach yet.
    pub fn write_run(&self, first: u32, values: &[T]) -> Result<()> {
        (first..).zip(values).try_for_each(|(index, value)| self.write(index, value))
    }

    /// Writes one word of an entry: one atomic store, which programs see whole.
    pub fn write_word(&self, index: u32, word: usize, value: u64) -> Result<()> {
        let words = &self.words.words()[self.entry_words(index)?];
        words[word].store(value, Ordering::Release);
        Ok(())
    }

    /// Writes every word of an entry but the first.
    pub fn write_after_first_word(&self, index: u32, value: &T) -> Result<()> {
        let words = &self.words.words()[self.entry_words(index)?];
        for (chunk, word) in value.as_bytes().chunks_exact(WORD_BYTES).zip(words).skip(1) {
            word.store(word_of(chunk), Ordering::Release);
        }
        Ok(())
    }

    /// Writes the first word of an entry: one atomic store, which programs see whole.
    pub fn write_first_word(&self, index: u32, value: &T) -> Result<()> {
        let range = self.entry_words(index)?;
        let word = word_of(&value.as_bytes()[..WORD_BYTES]);
        self.words.words()[range.start].store(word, Ordering::Release);
        Ok(())
    }
}

fn out_of_range(map: &'static str, index: u32, entries_max: u32) -> Error {
    Error::Index { map, index: index.into(), entries_max: entries_max.into() }
}

fn word_of(chunk: &[u8]) -> u64 {
    let mut bytes = [0u8; WORD_BYTES];
    bytes.copy_from_slice(chunk);
    u64::from_ne_bytes(bytes)
}
