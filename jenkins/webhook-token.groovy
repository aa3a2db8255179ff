// The token that /git/notifyCommit asks for. The Git plugin has no setting of its own for a token that exists already,
// it only makes new ones on a page; so its hash is put where that page puts it. Scripts of Job DSL do not see the
// classes of the Git plugin: the loader of all plugins does.
import jenkins.model.Jenkins

import java.security.MessageDigest

byte[] digest = MessageDigest.getInstance('SHA-256').digest(WEBHOOK_TOKEN.getBytes('US-ASCII'))
ClassLoader plugins = Jenkins.get().pluginManager.uberClassLoader
Object tokens = plugins.loadClass('hudson.plugins.git.ApiTokenPropertyConfiguration').get()
tokens.@apiTokens.removeAll { token -> token.name == 'webhook' }
Class hashedToken = plugins.loadClass("${tokens.class.name}\$HashedApiToken")
tokens.@apiTokens.add(hashedToken.newInstance('webhook', digest.encodeHex().toString()))
tokens.save()
