# The table of breakglassd, as `breakglassd init dynamodb` makes it, and the
# least policy for the server's role.
terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "table" {
  description = "Name of the table, store.dynamodb.table in the server's configuration."
  type        = string
  default     = "breakglass"
}

variable "kms_key_arn" {
  description = "A KMS key for encryption at rest; null for the key that AWS owns. The server's role then also needs kms:Decrypt and kms:GenerateDataKey on it."
  type        = string
  default     = null
}

resource "aws_dynamodb_table" "breakglass" {
  name                        = var.table
  billing_mode                = "PAY_PER_REQUEST"
  deletion_protection_enabled = true
  hash_key                    = "pk"
  range_key                   = "sk"

  dynamic "attribute" {
    for_each = toset(["pk", "sk", "invoker", "status", "profile", "created_at"])
    content {
      name = attribute.value
      type = "S"
    }
  }

  dynamic "global_secondary_index" {
    for_each = toset(["invoker", "status", "profile"])
    content {
      name            = "gsi-${global_secondary_index.value}"
      hash_key        = global_secondary_index.value
      range_key       = "created_at"
      projection_type = "ALL"
    }
  }

  point_in_time_recovery {
    enabled = true
  }

  dynamic "server_side_encryption" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]
    content {
      enabled     = true
      kms_key_arn = server_side_encryption.value
    }
  }

  # No ttl block: events and audit entries must stay.

  lifecycle {
    prevent_destroy = true
  }
}

data "aws_iam_policy_document" "server" {
  statement {
    sid = "ReadAndWriteTheTable"
    actions = [
      "dynamodb:BatchGetItem",
      "dynamodb:BatchWriteItem",
      "dynamodb:ConditionCheckItem",
      "dynamodb:DeleteItem",
      "dynamodb:GetItem",
      "dynamodb:PutItem",
      "dynamodb:Query",
      "dynamodb:UpdateItem",
    ]
    resources = [aws_dynamodb_table.breakglass.arn, "${aws_dynamodb_table.breakglass.arn}/index/gsi-*"]
  }
  statement {
    sid = "CheckTheTableAtStart"
    actions = [
      "dynamodb:DescribeContinuousBackups",
      "dynamodb:DescribeTable",
      "dynamodb:DescribeTimeToLive",
    ]
    resources = [aws_dynamodb_table.breakglass.arn]
  }
}

output "table" {
  description = "For store.dynamodb.table."
  value       = aws_dynamodb_table.breakglass.name
}

output "server_policy" {
  description = "The policy document that the server's role needs for its table."
  value       = data.aws_iam_policy_document.server.json
}
