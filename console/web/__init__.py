"""The pages: views of about ten lines that parse, authorise, call one service and render."""
