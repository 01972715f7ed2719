"""S3 and compatible stores: an `ObjectStore` over a bucket."""
