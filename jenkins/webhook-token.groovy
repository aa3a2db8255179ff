// The token that /git/notifyCommit asks for. The Git plugin has no setting of its own for a token that exists already,
// it only makes new ones on a page; so its hash is put where that page puts it.
import hudson.plugins.git.ApiTokenPropertyConfiguration

import java.security.MessageDigest

byte[] digest = MessageDigest.getInstance('SHA-256').digest(WEBHOOK_TOKEN.getBytes('US-ASCII'))
ApiTokenPropertyConfiguration tokens = ApiTokenPropertyConfiguration.get()
tokens.@apiTokens.removeAll { token -> token.name == 'webhook' }
Class hashedToken = tokens.class.classLoader.loadClass("${tokens.class.name}\$HashedApiToken")
tokens.@apiTokens.add(hashedToken.newInstance('webhook', digest.encodeHex().toString()))
tokens.save()
