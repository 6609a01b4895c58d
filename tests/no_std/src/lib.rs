//! A library with its own panic handler and allocator. If any crate below the core brought the standard library in, these would
//! be there twice and it would not compile.
#![no_std]

use core::alloc::{GlobalAlloc, Layout};
use core::panic::PanicInfo;

/// Has no memory to give: what is proved here is that everything links.
struct NoMemory;

// SAFETY: no pointer is ever handed out.
unsafe impl GlobalAlloc for NoMemory {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: NoMemory = NoMemory;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}

/// Uses the core, so that it is linked.
#[unsafe(no_mangle)]
pub extern "C" fn egtp_deadline(node: &egtp::Node) -> u64 {
    node.deadline().map_or(0, egtp::Instant::as_micros)
}
