"""What a policy is worth, judged on decisions that another policy made (off-policy evaluation)."""
