//! An array map that user space writes through a shared mapping: no system call for an entry.

use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::sys::SharedWords;
use crate::{Error, Result};

/// Bytes of a word.
const WORD_BYTES: usize = 8;
/// The largest entry, in words.
const ENTRY_WORDS_MAX: usize = 4;

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
        const { assert!(size_of::<T>().is_multiple_of(WORD_BYTES)) };
        const { assert!(size_of::<T>() / WORD_BYTES <= ENTRY_WORDS_MAX) };
        let count = entries_max as usize * Self::ENTRY_WORDS;
        let words = SharedWords::map(map, count).map_err(|source| Error::Map {
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
            return Err(Error::Index {
                map: self.name,
                index: index.into(),
                entries_max: self.entries_max.into(),
            });
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
        T::read_from_prefix(&bytes).map(|(value, _)| value).map_err(|_| Error::Index {
            map: self.name,
            index: index.into(),
            entries_max: self.entries_max.into(),
        })
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

fn word_of(chunk: &[u8]) -> u64 {
    let mut bytes = [0u8; WORD_BYTES];
    bytes.copy_from_slice(chunk);
    u64::from_ne_bytes(bytes)
}
