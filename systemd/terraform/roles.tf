# archive: what the daemon and all its commands need. It cannot delete anything, and with Object Lock nobody else can.
# read:    find and play recordings, verify the bucket.
# erase:   delete single recordings, versions too. For people, for as long as a request to erase takes.

locals {
  objects = var.prefix == "" ? "${aws_s3_bucket.archive.arn}/*" : "${aws_s3_bucket.archive.arn}/${var.prefix}/*"
}

data "aws_iam_policy_document" "archive" {
  statement {
    sid       = "Objects"
    actions   = ["s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload"]
    resources = [local.objects]
  }
  statement {
    sid       = "Bucket"
    actions   = ["s3:ListBucket", "s3:ListBucketMultipartUploads"]
    resources = [aws_s3_bucket.archive.arn]
  }
  dynamic "statement" {
    for_each = var.object_lock ? [1] : []
    content {
      sid       = "Lock"
      actions   = ["s3:PutObjectRetention", "s3:PutObjectLegalHold"]
      resources = [local.objects]
    }
  }
  dynamic "statement" {
    for_each = var.object_tags ? [1] : []
    content {
      sid       = "Tags"
      actions   = ["s3:PutObjectTagging"]
      resources = [local.objects]
    }
  }
  dynamic "statement" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]
    content {
      sid       = "Key"
      actions   = ["kms:GenerateDataKey", "kms:Decrypt"]
      resources = [statement.value]
    }
  }
}

data "aws_iam_policy_document" "read" {
  statement {
    sid       = "Objects"
    actions   = ["s3:GetObject"]
    resources = [local.objects]
  }
  statement {
    sid       = "Bucket"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.archive.arn]
  }
  dynamic "statement" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]
    content {
      sid       = "Key"
      actions   = ["kms:Decrypt"]
      resources = [statement.value]
    }
  }
}

data "aws_iam_policy_document" "erase" {
  statement {
    sid       = "Objects"
    actions   = ["s3:DeleteObject", "s3:DeleteObjectVersion"]
    resources = [local.objects]
  }
  statement {
    sid       = "Bucket"
    actions   = ["s3:ListBucket", "s3:ListBucketVersions"]
    resources = [aws_s3_bucket.archive.arn]
  }
}

resource "aws_iam_policy" "archive" {
  name   = "${var.name}-archive"
  policy = data.aws_iam_policy_document.archive.json
  tags   = var.tags
}

resource "aws_iam_policy" "read" {
  name   = "${var.name}-read"
  policy = data.aws_iam_policy_document.read.json
  tags   = var.tags
}

resource "aws_iam_policy" "erase" {
  name   = "${var.name}-erase"
  policy = data.aws_iam_policy_document.erase.json
  tags   = var.tags
}

output "bucket" {
  description = "archive.bucket"
  value       = aws_s3_bucket.archive.bucket
}

output "policies" {
  description = "The ARNs of the policies by role: attach each to a role or user of yours."
  value = {
    archive = aws_iam_policy.archive.arn
    read    = aws_iam_policy.read.arn
    erase   = aws_iam_policy.erase.arn
  }
}
