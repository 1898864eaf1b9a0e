//! What bpf(2) reads and writes: its commands and their attributes, laid out as the kernel's header has them.

#![expect(unsafe_code, reason = "whoever lays out what the kernel reads promises that it is right")]

use std::marker::PhantomData;

/// Commands of bpf(2).
#[derive(Debug, Clone, Copy)]
#[repr(i32)]
pub(super) enum Command {
    MapCreate = 0,
    MapLookup = 1,
    MapUpdate = 2,
    MapDelete = 3,
    MapNextKey = 4,
    ProgramLoad = 5,
    Pin = 6,
    Open = 7,
    #[cfg(test)]
    Attach = 8,
    Info = 15,
    TypesLoad = 18,
    LinkCreate = 28,
}

/// An address as the kernel is given it, which outlives the call that it is given in.
#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub(super) struct Pointer<'a>(u64, PhantomData<&'a ()>);

impl<'a> Pointer<'a> {
    pub(super) const fn none() -> Self {
        Self(0, PhantomData)
    }

    pub(super) fn to(bytes: &'a [u8]) -> Self {
        Self(bytes.as_ptr().expose_provenance() as u64, PhantomData)
    }

    pub(super) fn to_mut(bytes: &'a mut [u8]) -> Self {
        Self(bytes.as_mut_ptr().expose_provenance() as u64, PhantomData)
    }

    /// To a structure that the kernel fills.
    pub(super) fn to_info<I: Info>(info: &'a mut I) -> Self {
        let info: *mut I = info;
        Self(info.expose_provenance() as u64, PhantomData)
    }
}

/// What a command reads, laid out as in `union bpf_attr`: no padding, unused fields zero.
///
/// # Safety
/// Implemented only for the structures below, whose pointers are made from slices that outlive them, with the lengths
/// that the command goes by beside them or in the map.
pub(super) unsafe trait Attributes {}

macro_rules! attributes {
    ($(#[doc = $doc:literal] $name:ident $(<$life:lifetime>)? { $($field:ident: $type:ty,)* })*) => { $(
        #[doc = $doc]
        #[derive(Debug)]
        #[repr(C, align(8))]
        pub(super) struct $name $(<$life>)? { $(pub(super) $field: $type,)* }
        // SAFETY: laid out as the kernel's header has it; see the trait.
        unsafe impl $(<$life>)? Attributes for $name $(<$life>)? {}
    )* };
}

attributes! {
    /// `BPF_MAP_CREATE`
    MapCreate {
        map_type: u32, key: u32, value: u32, most: u32, flags: u32, inner_map: u32, numa_node: u32, name: [u8; 16],
        interface: u32, types: u32, key_type: u32, value_type: u32, reserved: u32,
    }
    /// `BPF_MAP_*_ELEM`
    MapEntry<'a> { map: u32, reserved: u32, key: Pointer<'a>, value: Pointer<'a>, flags: u64, }
    /// `BPF_PROG_LOAD`
    ProgramLoad<'a> {
        program_type: u32, instructions: u32, code: Pointer<'a>, license: Pointer<'a>, log_level: u32, log_size: u32,
        log: Pointer<'a>, kernel_version: u32, flags: u32, name: [u8; 16], interface: u32, attach_type: u32,
    }
    /// `BPF_OBJ_PIN`, `BPF_OBJ_GET`
    AtPath<'a> { path: Pointer<'a>, descriptor: u32, flags: u32, }
    /// `BPF_OBJ_GET_INFO_BY_FD`
    InfoOf<'a> { descriptor: u32, size: u32, info: Pointer<'a>, }
    /// `BPF_BTF_LOAD`
    TypesLoad<'a> {
        types: Pointer<'a>, log: Pointer<'a>, size: u32, log_size: u32, log_level: u32, reserved: u32,
    }
    /// `BPF_LINK_CREATE`
    LinkCreate { program: u32, target: u32, attach_type: u32, flags: u32, }
}

/// What the kernel tells of an object, laid out as its header has it.
pub(super) trait Info: Default {}

/// `struct bpf_map_info`, its beginning.
#[derive(Debug, Default)]
#[repr(C, align(8))]
pub(super) struct MapInfo {
    pub(super) map_type: u32,
    pub(super) id: u32,
    pub(super) key: u32,
    pub(super) value: u32,
}

/// `struct bpf_link_info` of a cgroup.
#[derive(Debug, Default)]
#[repr(C, align(8))]
pub(super) struct LinkInfo {
    pub(super) link_type: u32,
    pub(super) id: u32,
    pub(super) program: u32,
    pub(super) reserved: u32,
    pub(super) cgroup: u64,
    pub(super) attach_type: u32,
    pub(super) padding: u32,
}

impl Info for LinkInfo {}
impl Info for MapInfo {}

#[cfg(test)]
mod tests {
    use std::mem::{offset_of, size_of};

    use super::*;

    #[test]
    fn attributes_are_as_long_as_the_kernels_header_has_them() {
        assert_eq!(size_of::<MapCreate>(), 64);
        assert_eq!(size_of::<MapEntry<'_>>(), 32);
        assert_eq!(size_of::<ProgramLoad<'_>>(), 72);
        assert_eq!(size_of::<AtPath<'_>>(), 16);
        assert_eq!(size_of::<InfoOf<'_>>(), 16);
        assert_eq!(size_of::<TypesLoad<'_>>(), 32);
        assert_eq!(size_of::<LinkCreate>(), 16);
        assert_eq!(offset_of!(MapCreate, types), 48);
        assert_eq!(offset_of!(ProgramLoad<'_>, attach_type), 68);
        assert_eq!(offset_of!(LinkInfo, cgroup), 16);
    }
}
