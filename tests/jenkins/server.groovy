/*
 * Runs Groovy scripts, one after another, each as `groovy [--classpath PATH] (-e CODE | FILE) arguments...` would: a line
 * of standard input is the list of these, as JSON; a line of standard output is what the script printed, and what went
 * wrong. A file is compiled once, so what its classes hold in static fields is there in the next run too.
 */
import groovy.json.JsonOutput
import groovy.json.JsonSlurper
import org.codehaus.groovy.runtime.InvokerHelper

Map<String, Class> compiled = [:]

void run(List<String> request, Map<String, Class> compiled) {
    List<String> rest = request
    GroovyClassLoader loader = new GroovyClassLoader(getClass().classLoader)
    if (rest[0] == '--classpath') {
        rest[1].split(File.pathSeparator).each { loader.addClasspath(it) }
        rest = rest.drop(2)
    }
    if (rest[0] == '-e') {
        InvokerHelper.runScript(loader.parseClass(rest[1]), rest.drop(2) as String[])
        return
    }
    String file = rest[0]
    if (!compiled.containsKey(file)) {
        compiled[file] = loader.parseClass(new File(file))
    }
    InvokerHelper.runScript(compiled[file], rest.drop(1) as String[])
}

PrintStream answers = System.out
System.in.eachLine { line ->
    ByteArrayOutputStream printed = new ByteArrayOutputStream()
    StringWriter problem = new StringWriter()
    System.out = new PrintStream(printed, true, 'UTF-8')
    try {
        run(new JsonSlurper().parseText(line), compiled)
    } catch (Throwable thrown) {
        thrown.printStackTrace(new PrintWriter(problem, true))
    }
    answers.println(JsonOutput.toJson([printed: printed.toString('UTF-8'), problem: problem.toString()]))
    answers.flush()
}
