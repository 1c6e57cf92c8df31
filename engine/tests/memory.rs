//! What a store needs at least, so that a limit or a buffer does not grow unseen.

use shingle_engine::{Limits, Plan};
use shingle_hal::Geometry;

fn flash(block_len_bytes: u32) -> Geometry {
    Geometry {
        block_len_bytes,
        zone_count: 64,
        zone_blocks: 16_384 / block_len_bytes,
        open_zones_max: None,
        active_zones_max: None,
        transfer_blocks_max: 16,
        buffer_align_bytes: 1,
        element_count: 1,
    }
}

fn small(key_len_max: u16, meta_len_max: u16) -> Limits {
    Limits {
        key_len_max,
        meta_len_max,
        value_len_max: 1024,
        node_len_bytes: 512,
        separate_from_bytes: 128,
    }
}

#[test]
fn plan_of_small_flash_fits_32_kib() {
    for (block_len, key_len, meta_len) in
        [(256, 32, 16), (512, 32, 16), (256, 64, 32), (512, 64, 32)]
    {
        let limits = small(key_len, meta_len);
        let needed = Plan::new(&flash(block_len), &limits, 0).expect_err("nothing is not enough");
        println!("blocks of {block_len}, keys to {key_len}: {needed} bytes");
        let plan = Plan::new(&flash(block_len), &limits, 32 * 1024);
        println!("{plan:#?}");
        assert!(plan.is_ok(), "needs {needed}");
    }
}
