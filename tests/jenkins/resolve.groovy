/*
 * Resolves texts as Configuration as Code resolves the values of casc.yaml: `groovy resolve.groovy texts.json name=value...`
 * with commons-text on the class path. Texts are a list; the resolved ones are printed as a list, `null` for one that
 * holds a variable which nothing gives. What is below is SecretSourceResolver of the plugin: the same substitution, set
 * up in the same way, before the same sources (the files of the folder SECRETS, stripped, and the environment, which are
 * the names and values given).
 */
import groovy.json.JsonOutput
import groovy.json.JsonSlurper
import org.apache.commons.text.StringSubstitutor
import org.apache.commons.text.lookup.StringLookup

Map<String, String> environment = args.drop(1).collectEntries { argument -> argument.split('=', 2) as List }
Map<String, Closure> lookups = [
    base64: { String text -> text.bytes.encodeBase64().toString() },
    readFileBase64: { String path -> new File(path).file ? new File(path).bytes.encodeBase64().toString() : null },
    readFile: { String path -> new File(path).file ? new File(path).text : null },
]
Closure reveal = { String name ->
    File file = new File(environment.SECRETS, name)
    return file.file ? file.text.trim() : environment[name]
}
StringLookup lookup = { String variable ->
    int colon = variable.indexOf(':')
    Closure special = colon < 0 ? null : lookups[variable[0..<colon]]
    return special?.call(variable.substring(colon + 1)) ?: reveal(variable)
} as StringLookup
StringSubstitutor substitutor = new StringSubstitutor(lookup)
    .setEscapeChar('^' as char)
    .setVariablePrefix('${')
    .setVariableSuffix('}')
    .setEnableSubstitutionInVariables(true)
    .setPreserveEscapes(true)
println JsonOutput.toJson(new JsonSlurper().parse(new File(args[0])).collect { text ->
    String resolved = substitutor.replace(text)
    return resolved.contains('${') ? null : resolved
})
