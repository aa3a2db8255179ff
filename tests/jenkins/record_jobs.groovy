/*
 * Runs a Job DSL script and prints what it calls, as JSON: `groovy record_jobs.groovy script name=value...`.
 * A call is [name, its plain arguments, the calls inside its closure].
 */
import groovy.json.JsonOutput
import org.codehaus.groovy.control.CompilerConfiguration

class Recorder {

    List calls = []

    Object methodMissing(String name, Object given) {
        List plain = given.findAll { argument -> !(argument instanceof Closure) }
        Recorder inner = new Recorder()
        given.findAll { argument -> argument instanceof Closure }.each { Closure body ->
            Closure bound = body.clone()
            bound.delegate = inner
            bound.resolveStrategy = Closure.DELEGATE_FIRST
            bound.call()
        }
        calls.add([name, plain, inner.calls])
        return null
    }

}

abstract class JobScript extends Script {

    Recorder recorder = new Recorder()

    Object methodMissing(String name, Object given) { return recorder.methodMissing(name, given) }

}

Binding variables = new Binding(args.drop(1).collectEntries { argument -> argument.split('=', 2) as List })
CompilerConfiguration configuration = new CompilerConfiguration(scriptBaseClass: JobScript.name)
JobScript jobs = new GroovyShell(getClass().classLoader, variables, configuration).parse(new File(args[0]))
jobs.run()
println JsonOutput.toJson(jobs.recorder.calls)
