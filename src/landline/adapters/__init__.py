"""What implements `landline.ports`. Only `landline.app` imports from here."""
