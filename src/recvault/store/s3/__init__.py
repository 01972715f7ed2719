"""S3 and what speaks its protocol: an `ObjectStore` over a bucket."""
