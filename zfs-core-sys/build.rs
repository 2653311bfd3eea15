fn main() {
    println!("cargo:rustc-link-lib=zfs_core");
}
