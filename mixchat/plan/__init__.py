"""Where a model's bytes go: header, machine and wishes in, a plan or DoesNotFit out."""
