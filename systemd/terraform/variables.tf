variable "bucket" {
  description = "The bucket's name: archive.bucket of the configuration."
  type        = string
}

variable "prefix" {
  description = "archive.prefix of the configuration, without a slash at its end. Empty: the roles are for the whole bucket."
  type        = string
  default     = ""
}

variable "versioning" {
  description = "Keep versions. recvault overwrites nothing; versions protect against whoever else may write."
  type        = bool
  default     = false
}

variable "object_lock" {
  description = "Create the bucket with Object Lock, which cannot be undone. archive.object_lock then says for how long."
  type        = bool
  default     = false
}

variable "object_tags" {
  description = "Whether archive.tags is set in the configuration: writing tags needs a permission."
  type        = bool
  default     = false
}

variable "kms_key_arn" {
  description = "The KMS key that encrypts the bucket. null: S3's own keys."
  type        = string
  default     = null
}

variable "name" {
  description = "What the names of the policies begin with."
  type        = string
  default     = "recvault"
}

variable "tags" {
  description = "Tags of the bucket and the policies."
  type        = map(string)
  default     = {}
}
