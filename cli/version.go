package cli

// Version is this build's version, recorded with every deploy.
const Version = "0.1.0"
